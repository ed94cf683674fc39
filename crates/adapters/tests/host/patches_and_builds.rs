//! Patches beside builds: what a host says before it takes one, and what an installation makes of it.

use crate::machine::web;
use crate::packages::Shop;
use crate::patches::{AFTER, BEFORE, CODE, Patched, id, patch, sha256};
use serin_model::{CarriedState, FileChange, Patch, PatchedFile};
use serin_runtime::ports::{Fence, HostPort, PortError, Work};

#[tokio::test]
async fn a_patch_is_tried_without_changing_anything() {
    let host = Patched::new().await;
    let hosts = host.machine.hosts("root");
    let fits = async || hosts.fits(&web(), &patch()).await;
    let refused = async |part: &str| match fits().await {
        Err(PortError::Refused(why)) => assert!(why.contains(part), "{why}"),
        other => panic!("{other:?} and not {part}"),
    };
    assert_eq!(fits().await, Ok(4));
    assert_eq!((host.code().as_str(), host.carried().await.as_str()), (BEFORE, ""));
    host.machine.ok(&format!("rm /var/lib/serin/patches/{}/blobs/{}", id(), sha256("TWO\n")));
    refused("the bytes of /opt/demo/lib/two words.rb were not stored").await;
    host.store("TWO\n").await.unwrap();
    host.machine.ok(&format!("cp -p {CODE}/one.rb /root/; echo mine >{CODE}/one.rb"));
    refused("one.rb has other bytes").await;
    host.machine.ok(&format!("cp -p /root/one.rb {CODE}/"));
    assert_eq!(host.patch().await.0, 0);
    assert_eq!(fits().await, Ok(0));
    assert_eq!((host.code().as_str(), host.carried().await.as_str()), (AFTER, "1.0-1 applied"));
    host.install("2.0-1");
    refused("demo 1.0-1 is not what is installed").await;
}

#[tokio::test]
async fn what_a_build_lays_down_has_no_patch_in_it_and_nothing_of_one_beside_it() {
    let shop = Shop::open();
    let (one, two) = (shop.build("1.0-1"), shop.build("2.0-1"));
    shop.fetch_and_install(&one).await;
    let hosts = shop.machine.hosts("root");
    for bytes in ["fixed", "new"] {
        hosts.store(&web(), Fence(1), &id(), bytes.as_bytes()).await.unwrap();
    }
    let file = |path: &str, change| PatchedFile { path: path.to_owned(), change };
    let change = FileChange::Modify { before: sha256("1.0-1"), after: sha256("fixed") };
    let made = |mode| FileChange::Create { after: sha256("new"), mode };
    let patch = Patch {
        id: id(),
        package: "demo".parse().unwrap(),
        version: "1.0-1".parse().unwrap(),
        files: vec![
            file("/usr/share/demo/demo", change),
            file("/usr/share/demo/deep/new", made(0o644)),
            file("/usr/share/demo/kept", made(0o644)),
        ],
    };
    assert_eq!(shop.perform(Work::Patch(patch)).await.0, 0);
    let carried = shop.observe().await.patches;
    assert!(matches!(carried.as_slice(), [one] if one.state == CarriedState::Applied));
    // Somebody made something of their own of it: that is not Serin's to remove.
    shop.machine.ok("echo mine >/usr/share/demo/kept");
    shop.fetch_and_install(&two).await;
    assert_eq!(shop.observe().await.patches, []);
    assert_eq!(shop.machine.ok("cat /usr/share/demo/*"), "2.0-1mine\n");
    assert!(!shop.machine.root("/usr/share/demo/deep").exists());
    assert!(!shop.machine.root(&format!("/var/lib/serin/patches/{}", id())).exists());
}
