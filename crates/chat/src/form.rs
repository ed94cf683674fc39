//! `application/x-www-form-urlencoded`: the fields of a form, and nothing that is not one.

use std::collections::BTreeMap;

/// More fields than either platform sends.
const MOST_FIELDS: usize = 64;

/// Reads a form. Of a field that is there twice the first counts; what is no UTF-8 makes the whole form unreadable.
pub(crate) fn fields(body: &[u8]) -> Option<BTreeMap<String, String>> {
    let text = std::str::from_utf8(body).ok()?;
    let mut fields = BTreeMap::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decoded(name)?, decoded(value)?);
        fields.entry(name).or_insert(value);
        if fields.len() > MOST_FIELDS {
            return None;
        }
    }
    Some(fields)
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_whole_or_not_at_all() {
        let read = fields(b"a=b+c&d=%E2%80%9Cx%22&e&a=2&=").unwrap();
        let read: Vec<_> =
            read.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(read, [("", ""), ("a", "b c"), ("d", "“x\""), ("e", "")]);
        for bad in ["a=%", "a=%f", "a=%zz", "a=%ff", "a=%+1"] {
            assert_eq!(fields(bad.as_bytes()), None, "{bad}");
        }
        let many = (0..70).fold(String::new(), |text, at| text + &format!("f{at}=x&"));
        assert_eq!(fields(many.as_bytes()), None);
    }
}
