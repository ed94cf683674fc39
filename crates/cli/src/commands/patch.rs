//! `serin patch check`: what a patch says, and whether a build contains it.

use crate::args::PatchCheck;
use crate::context::Context;
use crate::failure::{Code, Failure, chain};
use crate::show::{embargo, line, print, table};
use serin_adapters::deb::{Deb, Found, ItemKind};
use serin_model::{Build, Sha256};
use serin_patch::{Change, Contains, FileProof, PatchFile, Present, Proof, prove};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// What is read of a patch at most; the parser says what is too much.
const MAX_READ: u64 = 16 << 20;

pub(crate) async fn check(context: &Context, what: PatchCheck) -> Result<Code, Failure> {
    let PatchCheck { file, build, root, sha256 } = what;
    let patch = read(&file, sha256.as_ref())?;
    embargo::refuse_contents(&[&build])?;
    let root = chosen_root(context, root)?;
    let opened = context.repository()?.open(&[&build], &context.packages()).await;
    let opened = opened.map_err(|error| refused(chain(&error)))?;
    let Some((build, deb)) = opened.into_iter().next() else {
        return Err(Failure::new(Code::Error, "one build was asked for"));
    };
    let (patch, build, proof) = tokio::task::spawn_blocking(move || {
        let present = present(&patch, &root, &build, deb)?;
        let proof = prove(&patch, &root, &present);
        Ok::<_, Failure>((patch, build, proof))
    })
    .await
    .map_err(|error| Failure::new(Code::Error, error.to_string()))??;
    if context.json() {
        line(json(&patch, &build, &proof));
    } else {
        show(&patch, &build, &proof);
    }
    Ok(if proof.contains == Contains::Contained { Code::Done } else { Code::Blocked })
}

fn refused(what: String) -> Failure {
    Failure::new(Code::Refused, what)
}

/// Reads a patch, whose bytes must be those that its author named.
fn read(path: &Path, wanted: Option<&Sha256>) -> Result<PatchFile, Failure> {
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
    PatchFile::parse(&bytes).map_err(|error| refused(format!("{shown} is refused: {error}")))
}

fn chosen_root(context: &Context, root: Option<String>) -> Result<String, Failure> {
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

fn show(patch: &PatchFile, build: &Build, proof: &Proof) {
    let (files, hunks) = (patch.files.len(), patch.hunks());
    line(format!("patch {}, SHA-256 {}", patch.id.short(), patch.id));
    line(format!("  files: {files}, hunks: {hunks}"));
    line(format!("  against {} {}", build.package, build.version));
    let mut rows = table(&["FILE", "CHANGE", "CONTAINED", "BEFORE", "AFTER"]);
    for file in &proof.files {
        let hash = |hash: &Option<Sha256>| {
            let known = matches!(file.contains, Contains::Contained | Contains::NotContained);
            let none = if known { "(none)" } else { "" };
            hash.as_ref().map_or(none, Sha256::short).to_owned()
        };
        rows.add_row([
            file.path.clone(),
            change(file.change).to_owned(),
            file.contains.to_string(),
            hash(&file.before),
            hash(&file.after),
        ]);
    }
    print(&rows);
    for file in &proof.files {
        if let Some(why) = &file.why {
            line(format!("{}: {why}", file.path));
        }
    }
    line(match proof.contains {
        Contains::Contained => "contained: the build has all of the patch",
        Contains::NotContained => {
            "not contained: the build has nothing of the patch, and it applies"
        }
        Contains::Partial => "partly contained: a person must look at it",
        Contains::Ambiguous => {
            "ambiguous: the text fits in more than one way; a person must look at it"
        }
        Contains::Conflict => {
            "conflict: it neither applies nor is it there; the build may have it in other words"
        }
    });
}

fn change(change: Change) -> &'static str {
    match change {
        Change::Modify => "modify",
        Change::Create { .. } => "create",
        Change::Delete => "delete",
    }
}

fn word(contains: Contains) -> &'static str {
    match contains {
        Contains::Contained => "contained",
        Contains::NotContained => "not-contained",
        Contains::Partial => "partial",
        Contains::Ambiguous => "ambiguous",
        Contains::Conflict => "conflict",
    }
}

fn json(patch: &PatchFile, build: &Build, proof: &Proof) -> String {
    let file = |file: &FileProof| {
        serde_json::json!({
            "path": file.path,
            "change": change(file.change),
            "contains": word(file.contains),
            "why": file.why.as_ref().map(ToString::to_string),
            "before": file.before.as_ref().map(Sha256::as_str),
            "after": file.after.as_ref().map(Sha256::as_str),
        })
    };
    serde_json::json!({
        "patch": patch.id.as_str(),
        "hunks": patch.hunks(),
        "package": build.package.as_str(),
        "build": build.version.as_str(),
        "contains": word(proof.contains),
        "files": proof.files.iter().map(file).collect::<Vec<_>>(),
    })
    .to_string()
}
