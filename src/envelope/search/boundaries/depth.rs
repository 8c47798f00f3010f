//! Classes of about equally many values, from the values themselves.

use zeroize::Zeroizing;

use super::super::ordinal::{self, Place};
use super::super::refused::Refused;
use super::super::rule::Ordered;
use super::super::scratch::Wiped;
use super::super::value::FormType;
use super::{Bound, Boundaries, numbered};

/// Values of a column, all of them or some by chance. Wiped on drop.
pub struct Sample {
    of: Ordered,
    /// Ordinal, and where its form is: place ‖ length.
    values: Wiped<(u64, u64)>,
    forms: Wiped<u8>,
}

/// No form of an ordered type is as long.
const LENGTH: u32 = 16;

impl Sample {
    /// An empty one.
    pub fn new(of: Ordered) -> Sample {
        Sample { of, values: Wiped::new(), forms: Wiped::new() }
    }

    /// Takes in the value whose canonical form, without padding, this is; not those that have no number.
    ///
    /// # Errors
    /// [`Refused::NoForm`] if it is no form of the type.
    pub fn push(&mut self, of: FormType, form: &[u8]) -> Result<(), Refused> {
        let is_float_4 = of == FormType::Float4;
        let Place::At(ordinal) = ordinal::of_form(self.of, is_float_4, form)? else {
            return Ok(());
        };
        let at = self.forms.as_slice().len() as u64;
        if is_float_4 {
            self.push_float(form)?;
        } else {
            self.forms.extend(form);
        }
        let len = self.forms.as_slice().len() as u64 - at;
        self.values.push_one((ordinal, (at << LENGTH) + len));
        Ok(())
    }

    /// How many values are in it.
    pub fn len(&self) -> usize {
        self.values.as_slice().len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many of the values each interval of `set` has.
    pub fn counts(&self, set: &Boundaries) -> Vec<u64> {
        let mut counts = vec![0; set.intervals().count()];
        for (ordinal, _) in self.values.as_slice() {
            if let Some(count) = counts.get_mut(set.interval_of(*ordinal)) {
                *count += 1;
            }
        }
        counts
    }

    /// The boundary set of that number, with about so many `classes`; with fewer if there are not as many values.
    pub fn boundaries(&mut self, set: u32, classes: u32) -> Boundaries {
        let (bounds, counts) = self.cut(|_| true, classes);
        let intervals = numbered(0, &counts, &[]).unwrap_or_default();
        Boundaries { set, of: self.of, bounds, intervals }
    }

    /// Cuts the values that `is_in` takes: the bounds, and how many classes each interval has.
    pub(super) fn cut(
        &mut self,
        is_in: impl Fn(u64) -> bool,
        classes: u32,
    ) -> (Vec<Bound>, Vec<u32>) {
        self.values.as_mut_slice().sort_unstable();
        let inside = || self.values.as_slice().iter().filter(|(ordinal, _)| is_in(*ordinal));
        let total = inside().count() as u64;
        let share = |count: u64| (count * u64::from(classes) + total / 2) / total.max(1);
        // Runs of one value: where it stands first, how often it is there.
        let mut runs: Vec<(&(u64, u64), u64)> = Vec::new();
        for value in inside() {
            match runs.last_mut() {
                Some((first, count)) if first.0 == value.0 => *count += 1,
                _ => runs.push((value, 1)),
            }
        }
        let (mut starts, mut counts) = (Vec::new(), Vec::new());
        let is_heavy = |run: &(_, u64)| share(run.1) > 1;
        for alike in runs.chunk_by(|a, b| !is_heavy(a) && !is_heavy(b)) {
            let sum: u64 = alike.iter().map(|run| run.1).sum();
            let parts = share(sum).max(1);
            if is_heavy(&alike[0]) {
                starts.push(alike[0].0);
                counts.push(u32::try_from(parts).unwrap_or(u32::MAX));
                continue;
            }
            let (mut before, mut begun) = (0, 0);
            for (value, count) in alike {
                if before * parts >= begun * sum {
                    starts.push(*value);
                    counts.push(1);
                    begun = before * parts / sum + 1;
                }
                before += count;
            }
        }
        if counts.is_empty() {
            counts.push(1);
        }
        // The first interval has no start.
        (starts.into_iter().skip(1).map(|value| self.bound(value)).collect(), counts)
    }

    fn bound(&self, (ordinal, place): &(u64, u64)) -> Bound {
        let at = (place >> LENGTH) as usize;
        let len = (place & ((1 << LENGTH) - 1)) as usize;
        let form = self.forms.as_slice().get(at..at + len).unwrap_or_default();
        Bound { ordinal: Zeroizing::new(*ordinal), form: Zeroizing::new(form.to_vec()) }
    }

    /// The form of single precision would be another number's of double precision.
    fn push_float(&mut self, form: &[u8]) -> Result<(), Refused> {
        let float = crate::forms::number::read_float4(form).ok_or(Refused::NoForm)?;
        let text = Zeroizing::new(format!("{:e}", f64::from(float)));
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits) = match exponent.strip_prefix('-') {
            Some(digits) => ("-", digits),
            None => ("+", exponent),
        };
        let zero = if digits.len() < 2 { "0" } else { "" };
        for part in [mantissa, "e", sign, zero, digits] {
            self.forms.extend(part.as_bytes());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The set over values, each so many times, in an order that is not theirs.
    fn set(values: &[(i64, usize)], classes: u32) -> String {
        let mut sample = Sample::new(Ordered::Int);
        for (value, count) in values.iter().rev() {
            for _ in 0..*count {
                assert_eq!(sample.push(FormType::Int, value.to_string().as_bytes()), Ok(()));
            }
        }
        assert_eq!(sample.len(), values.iter().map(|value| value.1).sum::<usize>());
        assert_eq!(sample.is_empty(), values.is_empty());
        let mut text = Vec::new();
        sample.boundaries(1, classes).write(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    }

    fn bounds_and_classes(bounds: &str, classes: &str) -> String {
        format!("{{\"set\":1,\"bounds\":[{bounds}],\"classes\":[{classes}]}}")
    }

    #[test]
    fn single_values_are_shared_out_evenly() {
        let ten: Vec<(i64, usize)> = (95..105).map(|value| (value, 1)).collect();
        let five = bounds_and_classes(r#""97","99","101","103""#, "[0],[1],[2],[3],[4]");
        assert_eq!(set(&ten, 5), five);
        assert_eq!(set(&ten, 3), bounds_and_classes(r#""99","102""#, "[0],[1],[2]"));
        assert_eq!(set(&ten, 1), bounds_and_classes("", "[0]"));
        assert_eq!(set(&[], 4), bounds_and_classes("", "[0]"));
    }

    #[test]
    fn a_frequent_value_has_an_interval_and_classes_of_its_own() {
        let among = [(1, 1), (2, 1), (3, 1), (4, 1), (5, 6), (7, 1), (8, 1)];
        let classes = bounds_and_classes(r#""3","5","7""#, "[0],[1],[2,3,4],[5]");
        assert_eq!(set(&among, 6), classes);
        assert_eq!(set(&[(1, 3), (2, 3)], 4), bounds_and_classes(r#""2""#, "[0,1],[2,3]"));
        // Of few values each is frequent.
        let each = bounds_and_classes(r#""2","3""#, "[0,1,2],[3,4,5],[6,7,8]");
        assert_eq!(set(&[(1, 1), (2, 1), (3, 1)], 10), each);
    }

    #[test]
    fn a_value_of_less_than_two_shares_is_not_frequent() {
        let two = bounds_and_classes(r#""2""#, "[0],[1]");
        assert_eq!(set(&[(1, 2), (2, 1), (3, 1)], 2), two);
        // Shares are rounded: one and a half are two.
        let rounded = bounds_and_classes(r#""2","3""#, "[0,1],[2],[3]");
        assert_eq!(set(&[(1, 2), (2, 1), (3, 1)], 3), rounded);
        let four = bounds_and_classes(r#""3","4","5""#, "[0],[1],[2],[3]");
        assert_eq!(set(&[(1, 1), (2, 3), (3, 3), (4, 1), (5, 1), (6, 1)], 4), four);
        // One that goes beyond the next share leaves that out.
        let singles = (3..12).map(|value| (value, 1));
        let skewed: Vec<(i64, usize)> = [(1, 4), (2, 7)].into_iter().chain(singles).collect();
        assert_eq!(set(&skewed, 4), bounds_and_classes(r#""3","7""#, "[0],[1],[2]"));
    }

    /// Those of single precision are written as of double precision.
    #[test]
    fn bounds_of_floats_have_the_form_of_double_precision() {
        let mut sample = Sample::new(Ordered::Float);
        for float in ["0.5", "1.5", "1e+10"] {
            assert_eq!(sample.push(FormType::Float4, float.as_bytes()), Ok(()));
        }
        let mut text = Vec::new();
        sample.boundaries(1, 3).write(&mut text);
        let expected = bounds_and_classes(r#""1.5e+00","1e+10""#, "[0],[1],[2]");
        assert_eq!(String::from_utf8_lossy(&text), expected);
    }
}
