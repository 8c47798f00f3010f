//! What must be so of any bytes: no reader of a canonical form panics, and what one reads, its writer writes the same.
//! Used by the tests and by the fuzzer.

use envelope::forms::{Sink, array, bytes, date, interval, network, number, padding, time, uuid};

/// Asks all readers.
pub fn check(form: &[u8]) {
    same(form, number::read_bool(form), number::write_bool);
    same(form, number::read_integer(form), number::write_integer);
    same(form, date::read(form), date::write);
    same(form, time::read(form), time::write);
    same(form, time::read_zoned(form), |(us, east), out| time::write_zoned(us, east, out));
    for is_utc in [false, true] {
        let read = time::read_moment(form, is_utc);
        same(form, read, |value, out| time::write_moment(value, is_utc, out));
    }
    same(form, interval::read(form), interval::write);
    same(form, network::read(form), |(address, bits), out| network::write(address, bits, out));
    same(form, uuid::read(form), |value, out| uuid::write(&value, out));
    same(form, array::shape(form), |shape, out| array_again(form, shape, out));
    same(form, bytes_of(form), |value, out| bytes::write(&value, out));
    // PostgreSQL writes these two.
    let numbers = (number::read_float4(form), number::read_float8(form));
    assert_eq!(numbers.0.is_some(), numbers.1.is_some());
    assert!(!number::is_numeric(form) || numbers.1.is_some());
    unfilled(form);
}

/// Writes again what was read, if anything was.
fn same<T>(form: &[u8], read: Option<T>, write: impl FnOnce(T, &mut Vec<u8>)) {
    let Some(value) = read else { return };
    let mut again = Vec::new();
    write(value, &mut again);
    assert_eq!(again, form);
}

fn array_again(form: &[u8], shape: array::Shape, out: &mut Vec<u8>) {
    let mut count = 0;
    for element in array::elements(form) {
        array::write_before(shape.dimensions(), count, out);
        count += 1;
        let Some(element) = element else {
            array::write_null(out);
            continue;
        };
        let mut text = Vec::new();
        element.unescape(&mut text);
        assert!(element.plain().is_none_or(|plain| plain == text));
        let written = array::write_element(out, |out| {
            out.push(&text);
            Ok::<_, ()>(())
        });
        assert!(written.is_ok());
    }
    let expected: usize = shape.dimensions().iter().product();
    assert_eq!(count, if shape.dimensions().is_empty() { 0 } else { expected });
    array::write_after(shape.dimensions(), out);
}

fn bytes_of(form: &[u8]) -> Option<Vec<u8>> {
    let mut value = vec![0; bytes::len_of(form)?];
    bytes::read_into(form, &mut value).then_some(value)
}

fn unfilled(form: &[u8]) {
    assert!(!padding::without_spaces(form).ends_with(b" "));
    if let Some(text) = padding::without_mark(form) {
        assert_eq!(form[text.len()], 0xff);
        assert!(form[text.len() + 1..].iter().all(|byte| *byte == 0));
    }
}
