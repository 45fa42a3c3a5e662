//! The distinguished encoding of ASN.1 (X.690), as far as certificates need it: one element after another, cut and never
//! built. Lengths are definite and at most 32 bits; tags have one byte.

/// An element.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Element<'a> {
    /// The tag with its class.
    pub(super) tag: u8,
    /// The content.
    pub(super) body: &'a [u8],
    /// Tag, length and content.
    pub(super) whole: &'a [u8],
}

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// Elements in a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Elements<'a>(pub(super) &'a [u8]);

impl<'a> Elements<'a> {
    /// Takes the next element if it has this tag.
    pub(super) fn demand(&mut self, tag: u8) -> Option<Element<'a>> {
        let mut ahead = *self;
        let element = ahead.next().filter(|element| element.tag == tag)?;
        *self = ahead;
        Some(element)
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    /// Returns the next element; `None` at the end, and where there is no element.
    fn next(&mut self) -> Option<Element<'a>> {
        let (tag, rest) = self.0.split_first()?;
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (first, mut rest) = rest.split_first()?;
        let length = match first {
            0..=0x7f => usize::from(*first),
            0x81..=0x84 => {
                let (digits, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
                rest = after;
                digits.iter().fold(0usize, |length, digit| length << 8 | usize::from(*digit))
            }
            _ => return None,
        };
        let (body, after) = rest.split_at_checked(length)?;
        let whole = self.0.get(..self.0.len().saturating_sub(after.len()))?;
        self.0 = after;
        Some(Element { tag: *tag, body, whole })
    }
}

/// Returns the content of the one element that fills these bytes and has this tag.
pub(super) fn only(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    let mut elements = Elements(bytes);
    let element = elements.demand(tag)?;
    elements.0.is_empty().then_some(element.body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_cut_at_their_lengths() {
        let mut elements = Elements(&[2, 1, 7, 0x30, 0x81, 2, 5, 0, 4, 0]);
        assert_eq!(elements.demand(SEQUENCE), None);
        assert_eq!(elements.demand(INTEGER).map(|element| element.body), Some(&[7][..]));
        let whole: Vec<&[u8]> = elements.map(|element| element.whole).collect();
        assert_eq!(whole, [&[0x30, 0x81, 2, 5, 0][..], &[4, 0]]);
        for bytes in [&[][..], &[2], &[2, 2, 1], &[2, 0x80], &[2, 0x85, 0, 0, 0, 0, 1, 1], &[0x1f, 1, 1], &[2, 0x82, 1]]
        {
            assert_eq!(Elements(bytes).next(), None, "{bytes:x?}");
        }
        assert_eq!((only(&[2, 1, 7], INTEGER), only(&[2, 1, 7, 5], INTEGER)), (Some(&[7][..]), None));
    }
}
