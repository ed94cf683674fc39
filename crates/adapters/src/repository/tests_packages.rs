//! Packages that are fetched to be looked into: proven, kept, and proven again.

use super::tests::Lab;
use super::*;
use crate::http::test_server::Reply;
use std::fs;

const POOL: &str = "/pool/demoapp_10.0-1_amd64.deb";

fn version() -> DebVersion {
    "10.0-1".parse().unwrap()
}

fn cache(lab: &Lab) -> PackageCache {
    PackageCache::new(lab.root.path().join("cache"))
}

fn kept(lab: &Lab) -> Vec<PathBuf> {
    let folder = fs::read_dir(lab.root.path().join("cache")).unwrap();
    folder.map(|entry| entry.unwrap().path()).collect()
}

fn asked_for_packages(lab: &Lab) -> usize {
    lab.server.asked.lock().unwrap().iter().filter(|path| path.contains("/pool/")).count()
}

async fn outcome(lab: &Lab) -> String {
    match lab.repository().open(&[&version()], &cache(lab)).await {
        Ok(opened) => format!("{} opened", opened.len()),
        Err(error) => error.to_string().replace(&lab.server.url, "URL"),
    }
}

#[tokio::test]
async fn a_package_is_fetched_once_and_proven_each_time() {
    let lab = Lab::start().await;
    let versions = [version(), "1.0-1".parse().unwrap()];
    let open = async || {
        let opened = lab.repository().open(&versions.each_ref(), &cache(&lab)).await.unwrap();
        for (mut found, wanted) in opened.into_iter().zip(&versions) {
            assert_eq!(found.0.version, *wanted);
            assert_eq!(found.1.control().unwrap().version, wanted.as_str());
        }
    };
    open().await;
    open().await;
    assert_eq!((asked_for_packages(&lab), kept(&lab).len()), (2, 2));
    for path in kept(&lab) {
        let mut bytes = fs::read(&path).unwrap();
        bytes[100] ^= 1;
        fs::write(path, bytes).unwrap();
    }
    open().await;
    assert_eq!(
        (asked_for_packages(&lab), kept(&lab).len()),
        (4, 2),
        "damaged ones are fetched again"
    );
    let from_disk = lab.repository_at(format!("file://{}", lab.root.path().display()));
    let other = PackageCache::new(lab.root.path().join("other"));
    assert_eq!(from_disk.open(&[&version()], &other).await.unwrap().len(), 1);
}

#[tokio::test]
async fn bytes_that_were_not_signed_for_are_never_kept() {
    let lab = Lab::start().await;
    let whole = fs::read(lab.root.path().join(&POOL[1..])).unwrap();
    let serve = |reply: Reply| lab.server.reply(POOL, reply);
    let mut other = whole.clone();
    other[200] ^= 1;
    let longer = [whole.clone(), vec![0]].concat();
    for bytes in [other, longer, whole[..whole.len() - 1].to_vec(), Vec::new()] {
        serve(Reply::full(200, "", bytes));
        let outcome = outcome(&lab).await;
        assert!(outcome.contains(POOL) && outcome.contains("is not what was signed"), "{outcome}");
    }
    serve(Reply::Endless);
    assert!(outcome(&lab).await.contains("found more"), "no more is read than was signed for");
    serve(Reply::Cut(whole[..100].to_vec()));
    assert!(outcome(&lab).await.contains("cannot be read"));
    serve(Reply::full(404, "", Vec::new()));
    assert!(outcome(&lab).await.contains("is listed by the repository but is not there"));
    assert_eq!(kept(&lab), Vec::<PathBuf>::new());
    let unknown = lab.repository().open(&[&version(), &"3-1".parse().unwrap()], &cache(&lab)).await;
    assert!(matches!(unknown, Err(RepositoryError::NotFound { .. })));
}

#[tokio::test]
async fn the_least_recently_used_packages_go_when_there_is_no_room() {
    let lab = Lab::start().await;
    let size = lab.repository().find(&version()).await.unwrap().size;
    let cache = cache(&lab).limited(size * 5 / 2);
    let open = async |version: &str| {
        let version = version.parse().unwrap();
        drop(lab.repository().open(&[&version], &cache).await.unwrap());
    };
    open("1.0-1").await;
    open("10.0-1").await;
    open("1.0-1").await;
    open("2.0~rc1-1").await;
    assert_eq!((asked_for_packages(&lab), kept(&lab).len()), (3, 2));
    open("1.0-1").await;
    assert_eq!(asked_for_packages(&lab), 3, "it was used last and is still there");
    open("10.0-1").await;
    assert_eq!(asked_for_packages(&lab), 4);
}

#[tokio::test]
async fn a_place_outside_of_the_repository_is_never_asked_for() {
    let lab = Lab::start().await;
    let mut listed = lab.repository().listed().await.unwrap().remove(0);
    for path in [None, Some("../secret.deb"), Some("/etc/passwd"), Some("pool//x"), Some("")] {
        listed.path = path.map(str::to_owned);
        let refused = lab.repository().fetch(&listed, &cache(&lab)).await;
        assert!(matches!(refused, Err(RepositoryError::BadIndex { .. })), "{path:?}");
    }
    assert_eq!(asked_for_packages(&lab), 0);
}

#[test]
fn a_name_in_the_index_is_not_an_address_yet() {
    assert_eq!(quoted("pool/d/demo_1+2~3-1_amd64.deb"), "pool/d/demo_1+2~3-1_amd64.deb");
    assert_eq!(quoted("pool/a%3ab c#d?é"), "pool/a%253ab%20c%23d%3F%C3%A9");
}
