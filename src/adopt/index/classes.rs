//! Where the classes of buckets begin, and the domain of a tree.

use envelope::search::{self, Boundaries, Kind, Ordered, Room, Rule, Sample, Subject, Tree, Value};

use super::counts::Counts;
use super::options::Options;
use crate::catalog::rows::PolicyRow;
use crate::error::{Error, IndexError, Result};
use crate::pg::encoding;
use crate::pg::relation::display_name;
use crate::values::{FormBuf, ValueType};

/// Classes unless it is said.
const USUAL_CLASSES: usize = 256;
/// Values that each class needs, so that its bounds are not those of single rows.
const OF_A_CLASS: u64 = 4;
/// Levels of a tree unless it is said.
const USUAL_SPARSITY: u8 = 2;
const USUAL_TRIM: u8 = 6;

/// The tree of the domain that the options say.
pub fn tree(policy: &PolicyRow, of: Ordered, options: &Options) -> Result<Kind> {
    let needs = || {
        let message =
            "kind tree needs options low and high: the first and the last value of its domain";
        Error::BadArgument(message.into())
    };
    let place = |text: &Option<String>| ordinal(policy, of, text.as_ref().ok_or_else(needs)?);
    let (low, high) = (place(&options.low)?, place(&options.high)?);
    if high <= low {
        return Err(Error::BadArgument("option low must be less than option high".into()));
    }
    let bits = u64::BITS - (high - low).leading_zeros();
    // As many values as there are, and the whole domain with them, must have places.
    let last = 1u64.checked_shl(bits).unwrap_or(0).wrapping_sub(1);
    let low = low.min(u64::MAX - last);
    let bits = u8::try_from(bits).unwrap_or(u8::MAX);
    Ok(Kind::Tree(Tree {
        sparsity: options.sparsity.unwrap_or(USUAL_SPARSITY),
        trim: options.trim.unwrap_or(USUAL_TRIM.min(bits.saturating_sub(1))),
        bits,
        low,
    }))
}

/// The boundary set of a new index: from what was given, or else from the values that there are.
pub fn boundaries(
    policy: &PolicyRow,
    of: Ordered,
    options: &Options,
    counts: &mut Counts,
) -> Result<Boundaries> {
    // No set has the number of another, so that their classes are told apart: of one that was dropped, too.
    let set = getrandom::u32().map_err(|error| Error::System(error.to_string()))?;
    if let Some(bounds) = &options.bounds {
        return given(policy, of, set, bounds);
    }
    let classes = options.classes.unwrap_or(USUAL_CLASSES);
    let needs = classes as u64 * OF_A_CLASS;
    let values = counts.sample.as_ref().map_or(0, Sample::len) as u64;
    let Some(sample) = counts.sample.as_mut().filter(|_| values >= needs) else {
        return Err(IndexError::TooFew {
            column: encoding::to_string(policy.column_name.to_bytes()),
            table: display_name(policy.relation),
            values,
            needs,
        }
        .into());
    };
    Ok(sample.boundaries(set, u32::try_from(classes).unwrap_or(u32::MAX)))
}

fn given(policy: &PolicyRow, of: Ordered, set: u32, bounds: &[String]) -> Result<Boundaries> {
    let mut forms = Vec::new();
    let mut last = None;
    for bound in bounds {
        let (place, form) = read(policy, of, bound)?;
        if last.is_some_and(|last| place <= last) {
            return Err(Error::BadArgument("option bounds must ascend".into()));
        }
        last = Some(place);
        forms.push(form);
    }
    let classes: Vec<[usize; 1]> = (0..=bounds.len()).map(|class| [class]).collect();
    let text = format!(
        "{{\"set\":{set},\"bounds\":{},\"classes\":{}}}",
        serde_json::to_string(&forms).unwrap_or_default(),
        serde_json::to_string(&classes).unwrap_or_default()
    );
    Boundaries::parse(text.as_bytes(), of)
        .ok_or_else(|| Error::BadArgument("option bounds must ascend".into()))
}

fn ordinal(policy: &PolicyRow, of: Ordered, text: &str) -> Result<u64> {
    read(policy, of, text).map(|(place, _)| place)
}

/// The place in the order of the type of the value whose text that is, and its canonical form.
fn read(policy: &PolicyRow, of: Ordered, text: &str) -> Result<(u64, String)> {
    let value_type = ValueType::known(policy.value_type, policy.value_typmod)?;
    let mut form = FormBuf::new();
    value_type.form_of_arriving(text.as_bytes(), 1, &mut form)?;
    let form = value_type.unfilled(form.as_slice());
    let none = || {
        Error::BadArgument(
            "options low, high and bounds must be values of the column's type that are finite"
                .into(),
        )
    };
    let rule = Rule::new(Kind::Buckets, Subject::Ordered(of)).map_err(|_| none())?;
    let mut room = Room::new();
    match search::value::of_form(value_type.form_type(), form, &rule, &mut room) {
        Ok(Value::Ordinal(place)) => Ok((place, String::from_utf8_lossy(form).into_owned())),
        _ => Err(none()),
    }
}
