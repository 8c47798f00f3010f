//! The associated data of the format: the first 18 bytes as they stand ‖ a context.

/// The longest associated data, in bytes, that stand on the stack: a context of 256. Row contexts of a few bound columns are
/// shorter, and a row should not cost an allocation.
const ON_STACK: usize = 274;

/// Calls `f` with `header` (18 bytes) ‖ `context`.
#[inline(always)]
pub(crate) fn with_associated_data<R>(
    header: &[u8],
    context: &[u8],
    f: impl FnOnce(&[u8]) -> R,
) -> R {
    if context.is_empty() { f(header) } else { with_context(header, context, f) }
}

#[inline(never)]
fn with_context<R>(header: &[u8], context: &[u8], f: impl FnOnce(&[u8]) -> R) -> R {
    let mut room = [0; ON_STACK];
    let Some(whole) = room.get_mut(..header.len() + context.len()) else {
        return f(&[header, context].concat());
    };
    let (head, rest) = whole.split_at_mut(header.len());
    head.copy_from_slice(header);
    rest.copy_from_slice(context);
    f(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::HEADER_LEN;

    #[test]
    fn is_the_same_on_stack_and_heap() {
        let header: [u8; HEADER_LEN] = std::array::from_fn(|at| at as u8);
        for len in [0, 1, 255, 256, 257, 1000] {
            let context: Vec<u8> = (0..len).map(|at| at as u8 ^ 0xA5).collect();
            let expected = [&header[..], &context].concat();
            with_associated_data(&header, &context, |data| assert_eq!(data, expected));
        }
    }
}
