//! Reading what the wrapper says of patches: those that a host carries, as a part of its state.
//!
//! A line that is not understood spoils all of it: a patch that is not told of would be taken for none.

use serin_model::{CarriedPatch, CarriedState};

/// Reads a patch that a host carries.
pub(super) fn patch(words: &str) -> Option<CarriedPatch> {
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
pub(super) fn changed(patch: &mut CarriedPatch, path: &str) {
    match &mut patch.state {
        CarriedState::Applied => {
            patch.state = CarriedState::Lost { files: vec![path.to_owned()] };
        }
        CarriedState::Lost { files } => files.push(path.to_owned()),
        CarriedState::Half => {}
    }
}
