//! A patch as text beside a build's package: read, proven, and made into what goes onto hosts.

use crate::context::Context;
use crate::failure::{Code, Failure, chain};
use serin_adapters::deb::{Deb, Found, ItemKind};
use serin_model::{Build, DebVersion, Overlay, Sha256};
use serin_patch::{Contains, PatchFile, Present, Proof, prove};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// What is read of a patch at most; the parser says what is too much.
const MAX_READ: u64 = 16 << 20;

/// What a plan may hold of the bytes that patches put on hosts: it is a record, and read whenever its run is.
const MAX_TEXT: usize = 4 << 20;

/// A patch and its file's bytes.
pub(super) struct Text {
    pub(super) file: PatchFile,
    pub(super) bytes: Vec<u8>,
}

/// Opens a build's package, and proves a patch against its files.
pub(super) async fn against(
    context: &Context,
    patch: &PatchFile,
    root: &str,
    version: &DebVersion,
) -> Result<(Build, Proof), Failure> {
    let opened = context.repository()?.open(&[version], &context.packages()).await;
    let opened = opened.map_err(|error| refused(chain(&error)))?;
    let Some((build, deb)) = opened.into_iter().next() else {
        return Err(Failure::new(Code::Error, "one build was asked for"));
    };
    let (patch, root) = (patch.clone(), root.to_owned());
    let proving = tokio::task::spawn_blocking(move || {
        let present = present(&patch, &root, &build, deb)?;
        let proof = prove(&patch, &root, &present);
        Ok::<_, Failure>((build, proof))
    });
    proving.await.map_err(|error| Failure::new(Code::Error, error.to_string()))?
}

/// Makes what goes onto hosts that have a build which a patch was proven to fit.
pub(super) fn overlay(patch: &PatchFile, build: &Build, proof: &Proof) -> Result<Overlay, Failure> {
    let Some((made, bytes)) = proof.patch(patch, (&build.package, &build.version)) else {
        return Err(refused(why_not(build, proof)));
    };
    let mut contents = BTreeMap::new();
    for (hash, bytes) in bytes {
        let text = String::from_utf8(bytes).map_err(|_not_text| {
            refused("a file of the patch is not UTF-8 text").hint("only text is patched")
        })?;
        contents.insert(hash, text);
    }
    if contents.values().map(String::len).sum::<usize>() > MAX_TEXT {
        return Err(refused(format!("its files have more than {} MB in all", MAX_TEXT >> 20)));
    }
    Ok(Overlay { patch: made, contents })
}

/// Says why a patch cannot be put on a build.
pub(super) fn why_not(build: &Build, proof: &Proof) -> String {
    let files = proof.files.iter().filter(|file| file.contains != Contains::NotContained);
    let files: Vec<String> = files
        .map(|file| match &file.why {
            Some(why) => format!("{}: {why}", file.path),
            None => format!("{} is {}", file.path, file.contains),
        })
        .collect();
    let version = &build.version;
    match proof.contains {
        Contains::Contained => format!("{version} contains the patch already"),
        Contains::NotContained => format!("the patch fits {version}"),
        Contains::Partial | Contains::Ambiguous | Contains::Conflict => {
            format!("the patch does not fit {version}: {}", files.join("; "))
        }
    }
}

pub(super) fn refused(what: impl Into<String>) -> Failure {
    Failure::new(Code::Refused, what)
}

/// Reads a patch, whose bytes must be those that its author named.
pub(super) fn read(path: &Path, wanted: Option<&Sha256>) -> Result<Text, Failure> {
    let shown = path.display();
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_READ).read_to_end(&mut bytes))
        .map_err(|error| refused(format!("{shown} cannot be read: {error}")))?;
    let found = serin_patch::sha256(&bytes);
    if let Some(wanted) = wanted.filter(|wanted| **wanted != found) {
        return Err(refused(format!("{shown} has SHA-256 {found}, not {wanted}"))
            .hint("it was changed or cut off on its way: get it again"));
    }
    let file = PatchFile::parse(&bytes);
    let file = file.map_err(|error| refused(format!("{shown} is refused: {error}")))?;
    Ok(Text { file, bytes })
}

pub(super) fn chosen_root(context: &Context, root: Option<String>) -> Result<String, Failure> {
    let roots = &context.config.contents.patch_roots;
    let Some(first) = roots.first() else {
        let profile = &context.config.topology.profile.name;
        return Err(refused(format!("the profile {profile} allows no patches"))
            .hint("write `patch_roots = [\"/the/folder\"]` under [profile]"));
    };
    match root {
        None => Ok(first.clone()),
        Some(root) if roots.contains(&root) => Ok(root),
        Some(root) => Err(refused(format!("{root} is none of the configured patch_roots"))
            .hint(format!("they are {}", roots.join(", ")))),
    }
}

/// Reads what a build has at the paths of a patch.
fn present(
    patch: &PatchFile,
    root: &str,
    build: &Build,
    mut deb: Deb,
) -> Result<BTreeMap<String, Present>, Failure> {
    let paths = patch.files.iter().map(|file| format!("{root}/{}", file.path));
    let mut found = deb
        .find(&paths.chain([root.to_owned()]).collect())
        .map_err(|error| refused(chain(&error)))?;
    // Every file would be absent, and a patch that only deletes contained.
    match found.remove(root).map(|found| found.item.kind) {
        Some(ItemKind::Folder) => {}
        Some(_) | None => {
            return Err(refused(format!("build {} has no folder {root}", build.version))
                .hint("look at `patch_roots` under [profile], and at --root"));
        }
    }
    Ok(found.into_iter().map(|(path, found)| (path, as_present(found))).collect())
}

fn as_present(found: Found) -> Present {
    let Found { item, content, other_names } = found;
    match item.kind {
        ItemKind::File if other_names.is_empty() => Present::File(content),
        ItemKind::File | ItemKind::HardLink { .. } => Present::Other("a file with several names"),
        ItemKind::Symlink { .. } => Present::Other("a symbolic link"),
        ItemKind::Folder => Present::Other("a folder"),
        ItemKind::Device => Present::Other("a device"),
    }
}
