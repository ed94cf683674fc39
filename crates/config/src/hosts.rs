//! Host patterns: `web-[01:20].gprd` stands for twenty hosts.
//!
//! A range counts up by one and includes both ends. A leading zero in its first number pads all of them to that
//! width. A pattern may hold several ranges; every combination is a host.

/// The most hosts that one pattern, and one file, may name: beyond that it is a typing error.
pub(crate) const MOST_HOSTS: usize = 10_000;

/// Expands a pattern to host names that are not yet validated, in counting order.
///
/// The error says what is wrong and what to write instead.
pub(crate) fn expand(pattern: &str) -> Result<Vec<String>, (String, String)> {
    let Some((before, rest)) = pattern.split_once('[') else {
        return if pattern.contains(']') {
            Err(unbalanced())
        } else {
            Ok(vec![pattern.to_owned()])
        };
    };
    let (range, after) = rest.split_once(']').ok_or_else(unbalanced)?;
    let numbers = numbers(range)?;
    let tails = expand(after)?;
    if numbers.len().saturating_mul(tails.len()) > MOST_HOSTS {
        return Err(too_many());
    }
    Ok(numbers
        .iter()
        .flat_map(|number| tails.iter().map(move |tail| format!("{before}{number}{tail}")))
        .collect())
}

fn numbers(range: &str) -> Result<Vec<String>, (String, String)> {
    let digits = |text: &str| {
        let ok = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        ok.then(|| text.parse::<usize>().ok()).flatten()
    };
    let ends = range
        .split_once(':')
        .and_then(|(first, last)| Some((digits(first)?, digits(last)?, first, last)));
    let Some((from, to, first, last)) = ends else {
        let what = format!("`[{range}]` is not a range of numbers");
        return Err((what, "write the first and the last number, such as `[01:20]`".to_owned()));
    };
    if to < from {
        let what = format!("the range `[{range}]` counts down");
        return Err((what, format!("write `[{last}:{first}]`")));
    }
    let padded = first.len() > 1 && first.starts_with('0');
    if padded && first.len() != last.len() {
        let what = format!("the two ends of `[{range}]` are padded to different widths");
        let width = first.len().max(last.len());
        return Err((what, format!("write `[{from:0width$}:{to:0width$}]`")));
    }
    if to - from >= MOST_HOSTS {
        return Err(too_many());
    }
    let width = if padded { first.len() } else { 0 };
    Ok((from..=to).map(|number| format!("{number:0width$}")).collect())
}

fn unbalanced() -> (String, String) {
    let what = "a `[` and a `]` do not belong together".to_owned();
    (what, "write a range such as `web-[01:20].example.com`".to_owned())
}

fn too_many() -> (String, String) {
    let what = format!("this names more than {MOST_HOSTS} hosts");
    (what, "write a smaller range".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_counts_from_its_first_to_its_last_number() {
        let check = |pattern: &str, expected: &str| {
            assert_eq!(expand(pattern).unwrap().join(" "), expected, "{pattern}");
        };
        check("lb", "lb");
        check("web-[08:11].gprd", "web-08.gprd web-09.gprd web-10.gprd web-11.gprd");
        check("web-[8:10]", "web-8 web-9 web-10");
        check("w[0:0]", "w0");
        check("r[1:2]-n[1:2]", "r1-n1 r1-n2 r2-n1 r2-n2");
    }

    #[test]
    fn a_range_that_means_nothing_is_refused() {
        for bad in
            ["w[1-3]", "w[a:c]", "w[:3]", "w[3:1]", "w[01:100]", "w[1:2", "w1:2]", "w[1:2]]", "w[]"]
        {
            assert!(expand(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(expand("w[1:10001]").is_err());
        assert!(expand("w[1:200]-[1:200]").is_err());
        assert!(expand("w[0:99999999999999999999999]").is_err());
        assert_eq!(expand("w[1:10000]").unwrap().len(), MOST_HOSTS);
    }
}
