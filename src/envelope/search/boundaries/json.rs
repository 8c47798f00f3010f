//! The text of a boundary set, as it is sealed: `{"set":1,"bounds":["1970-01-01"],"classes":[[0],[1,2]]}`, and after a
//! split that has not settled `,"former":[[],[0]]` before the last brace. No white space, and no other order.

use zeroize::Zeroizing;

use super::super::ordinal::{self, Place};
use super::super::rule::Ordered;
use super::{Bound, Boundaries, Interval};
use crate::context::decimal;
use crate::forms::Sink;

impl Boundaries {
    /// Writes the text, which is to be sealed: it holds values in clear.
    pub fn write(&self, out: &mut impl Sink) {
        out.push(b"{\"set\":");
        number(self.set, out);
        out.push(b",\"bounds\":[");
        for (at, bound) in self.bounds.iter().enumerate() {
            comma(at, out);
            // Forms of ordered types have nothing that JSON escapes.
            out.push(b"\"");
            out.push(&bound.form);
            out.push(b"\"");
        }
        out.push(b"],\"classes\":");
        lists(self.intervals.iter().map(|interval| &interval.classes), out);
        if self.is_settling() {
            out.push(b",\"former\":");
            lists(self.intervals.iter().map(|interval| &interval.former), out);
        }
        out.push(b"}");
    }

    /// Reads what [`Boundaries::write`] writes of that type, and nothing else.
    pub fn parse(text: &[u8], of: Ordered) -> Option<Boundaries> {
        let mut rest = text;
        skip(&mut rest, b"{\"set\":")?;
        let set = read_number(&mut rest)?;
        skip(&mut rest, b",\"bounds\":")?;
        let bounds: Vec<Bound> = list(&mut rest, |rest| read_bound(rest, of))?;
        skip(&mut rest, b",\"classes\":")?;
        let classes = read_lists(&mut rest)?;
        let former = match skip(&mut rest, b",\"former\":") {
            Some(()) => {
                read_lists(&mut rest).filter(|all| all.iter().any(|one| !one.is_empty()))?
            }
            None => vec![Vec::new(); classes.len()],
        };
        skip(&mut rest, b"}").filter(|()| rest.is_empty())?;
        let ascend = bounds.windows(2).all(|pair| *pair[0].ordinal < *pair[1].ordinal);
        let fit = classes.len() == bounds.len() + 1 && former.len() == classes.len();
        let has_all = classes.iter().all(|classes| !classes.is_empty());
        let mut numbers = classes.concat();
        numbers.sort_unstable();
        let each_once = numbers.windows(2).all(|pair| pair[0] != pair[1]);
        let intervals = classes.into_iter().zip(former);
        let intervals = intervals.map(|(classes, former)| Interval { classes, former }).collect();
        (ascend && fit && has_all && each_once).then_some(Boundaries { set, of, bounds, intervals })
    }

    /// The type whose values it cuts.
    pub fn ordered(&self) -> Ordered {
        self.of
    }
}

fn number(number: u32, out: &mut impl Sink) {
    out.push(decimal(&mut [0; 20], number.into()));
}

fn comma(at: usize, out: &mut impl Sink) {
    if at > 0 {
        out.push(b",");
    }
}

fn lists<'a>(all: impl Iterator<Item = &'a Vec<u32>>, out: &mut impl Sink) {
    out.push(b"[");
    for (at, numbers) in all.enumerate() {
        comma(at, out);
        out.push(b"[");
        for (at, one) in numbers.iter().enumerate() {
            comma(at, out);
            number(*one, out);
        }
        out.push(b"]");
    }
    out.push(b"]");
}

fn skip(rest: &mut &[u8], bytes: &[u8]) -> Option<()> {
    *rest = rest.strip_prefix(bytes)?;
    Some(())
}

fn read_number(rest: &mut &[u8]) -> Option<u32> {
    let len = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, after) = rest.split_at(len);
    *rest = after;
    if digits.len() > 1 && digits.starts_with(b"0") {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn read_bound(rest: &mut &[u8], of: Ordered) -> Option<Bound> {
    skip(rest, b"\"")?;
    let len = rest.iter().position(|byte| *byte == b'"')?;
    let (form, after) = rest.split_at(len);
    *rest = after;
    skip(rest, b"\"")?;
    let Ok(Place::At(ordinal)) = ordinal::of_form(of, false, form) else { return None };
    Some(Bound { ordinal: Zeroizing::new(ordinal), form: Zeroizing::new(form.to_vec()) })
}

fn read_lists(rest: &mut &[u8]) -> Option<Vec<Vec<u32>>> {
    list(rest, |rest| list(rest, read_number))
}

fn list<T>(rest: &mut &[u8], mut one: impl FnMut(&mut &[u8]) -> Option<T>) -> Option<Vec<T>> {
    skip(rest, b"[")?;
    let mut all = Vec::new();
    if skip(rest, b"]").is_some() {
        return Some(all);
    }
    loop {
        all.push(one(rest)?);
        if skip(rest, b"]").is_some() {
            return Some(all);
        }
        skip(rest, b",")?;
    }
}
