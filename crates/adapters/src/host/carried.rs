//! Reading what the wrapper's `patches` prints: the patches that a host carries.
//!
//! A line that is not understood spoils all of it: a patch that is not told of would be taken for none.

use serin_model::{CarriedPatch, CarriedState, HostName};
use serin_runtime::ports::PortError;

pub(super) fn parse(host: &HostName, lines: &str) -> Result<Vec<CarriedPatch>, PortError> {
    let mut carried: Vec<CarriedPatch> = Vec::new();
    for line in lines.lines().filter(|line| !line.is_empty()) {
        let taken = match line.split_once(' ') {
            Some(("patch", words)) => patch(words).map(|patch| carried.push(patch)),
            Some(("changed", path)) => carried.last_mut().map(|patch| changed(patch, path)),
            Some(_) | None => None,
        };
        taken.ok_or_else(|| PortError::Garbled(format!("{host} carries {line:?}")))?;
    }
    Ok(carried)
}

fn patch(words: &str) -> Option<CarriedPatch> {
    let words: Vec<&str> = words.split(' ').collect();
    let [id, package, version, state] = words.as_slice() else { return None };
    let state = match *state {
        "applied" => CarriedState::Applied,
        "half" => CarriedState::Half,
        _ => return None,
    };
    Some(CarriedPatch {
        id: id.parse().ok()?,
        package: package.parse().ok()?,
        version: version.parse().ok()?,
        state,
    })
}

/// Takes in that a file has not the bytes of a patch. Of one that is half there, this is no news.
fn changed(patch: &mut CarriedPatch, path: &str) {
    match &mut patch.state {
        CarriedState::Applied => {
            patch.state = CarriedState::Lost { files: vec![path.to_owned()] };
        }
        CarriedState::Lost { files } => files.push(path.to_owned()),
        CarriedState::Half => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(lines: &str) -> Result<Vec<CarriedPatch>, PortError> {
        parse(&"web-01".parse().unwrap(), lines)
    }

    #[test]
    fn a_patch_is_applied_only_when_every_file_has_its_bytes() {
        let [a, b, c] = ["a", "b", "c"].map(|digit| digit.repeat(64));
        let lines = format!(
            "\npatch {a} demo 1.0-1 applied\npatch {b} demo 1.0-1 applied\nchanged /a b\nchanged /c\n\
             patch {c} demo 2.0-1 half\nchanged /d"
        );
        let states: Vec<_> = parsed(&lines)
            .unwrap()
            .into_iter()
            .map(|patch| (patch.id.to_string(), patch.state))
            .collect();
        let lost = CarriedState::Lost { files: vec!["/a b".into(), "/c".into()] };
        assert_eq!(states, [(a, CarriedState::Applied), (b, lost), (c, CarriedState::Half)]);
        assert_eq!(parsed(""), Ok(Vec::new()));
    }

    #[test]
    fn what_is_not_understood_is_never_no_patch() {
        let id = "a".repeat(64);
        for bad in [
            "broken x",
            "changed /a",
            &format!("patch {id} demo 1.0-1"),
            "patch x demo 1-1 applied",
        ] {
            assert!(matches!(parsed(bad), Err(PortError::Garbled(_))), "{bad:?} was accepted");
        }
    }
}
