//! Copies of the file while the store uses it.

use super::*;
use std::fs::Permissions;
use std::os::unix::fs::{symlink, MetadataExt, PermissionsExt};

impl Running {
    /// Asks for a backup without waiting.
    fn back_up(&mut self, path: &Path) -> u64 {
        self.tickets += 1;
        self.store.send(StoreCommand::BackUp { ticket: self.tickets, path: path.into() });
        self.tickets
    }

    /// Waits for the answer to a backup. Returns the entries that were reported before it, too.
    pub(super) fn backed_up(&mut self, path: &Path) -> (Result<(), Failure>, Vec<StoreEntry>) {
        let asked = self.back_up(path);
        let mut entries = Vec::new();
        loop {
            match self.next() {
                StoreReport::Entries(more) => entries.extend(more),
                StoreReport::Done(ticket) if ticket == asked => return (Ok(()), entries),
                StoreReport::Failed { ticket, failure } if ticket == asked => return (Err(failure), entries),
                other => panic!("not the report of {asked}: {other:?}"),
            }
        }
    }
}

/// Appends entries of a MiB together, which a backup copies in more than a step.
fn append_many(store: &mut Running) -> Vec<StoreEntry> {
    let data = "x".repeat(10_000);
    (0..100).map(|number| store.append(retained(&number.to_string(), &data))).collect()
}

#[test]
fn a_backup_is_a_store_with_all_that_was_appended_before_it_and_another_epoch() {
    for sync in ALL {
        let (folder, mut store, first) = Folder::begun(sync);
        let mut appended: Vec<StoreEntry> = (0..10).flat_map(|_| append_many(&mut store)).collect();
        store.forget("a", 500, 1..=500);
        for number in 0..500 {
            store.ask(draft("b", &number.to_string())); // they come before it, or meanwhile
        }
        let (path, copy) = (folder.0.join("backup"), folder.0.join("events 2"));
        let (done, more) = store.backed_up(&path);
        done.expect("a backup");
        appended.extend(more);
        while appended.len() < 1500 {
            let StoreReport::Entries(more) = store.next() else { panic!("a failure") };
            appended.extend(more);
        }
        assert_eq!(folder.others(), ["backup"]);
        // The log of the file before is beside it, as after a crash.
        (0..50).for_each(|_| drop(store.append(draft("b", "later"))));
        std::fs::rename(&path, &copy).expect("its own folder");
        std::fs::copy(folder.0.join("events-wal"), folder.0.join("events 2-wal")).expect("room");
        let (again, begun) = Running::begin(&copy, sync);
        assert!(
            begun.began.reason.contains("is a copy") && begun.began.history.epoch != first.began.history.epoch,
            "{:?}",
            begun.began
        );
        let kept: Vec<u64> = seqs(&begun.entries);
        let expected: Vec<u64> = seqs(&appended).into_iter().filter(|seq| *seq > 500).collect();
        assert!(kept == expected, "{sync:?}: {} entries", kept.len());
        again.close();
        let (_, begun) = Running::begin(&copy, sync);
        assert_eq!(
            (&*begun.began.reason, begun.began.history.last_seq),
            ("", 1500),
            "from now on it is a store like others"
        );
        store.close();
    }
}

#[test]
fn a_backup_takes_the_place_of_what_a_killed_process_has_left_and_of_no_other_file() {
    let (folder, mut store, _) = Folder::begun(FileSync::Second);
    append_many(&mut store);
    let path = folder.0.join("backup");
    let (part, other) = (folder.0.join("backup.part"), folder.0.join("other"));
    let refused = |store: &mut Running, what: &str| {
        let failed = store.backed_up(&path).0.expect_err(what).message;
        assert!(failed.contains("another file is there"), "{what}: {failed}");
    };
    std::fs::write(&other, "kept").expect("room");
    std::fs::copy(&other, &part).expect("room");
    std::fs::set_permissions(&part, Permissions::from_mode(0o644)).expect("its owner may");
    refused(&mut store, "others may read it");
    assert_eq!(std::fs::read(&part).expect("a file"), b"kept");
    std::fs::remove_file(&part).expect("its owner may");
    symlink(&other, &part).expect("a new name");
    refused(&mut store, "it leads elsewhere");
    assert_eq!(std::fs::read(&other).expect("a file"), b"kept");
    for path in [&part, &other] {
        std::fs::remove_file(path).expect("its owner may");
    }
    std::fs::write(&part, vec![b'x'; 9 << 20]).expect("room");
    std::fs::set_permissions(&part, Permissions::from_mode(0o600)).expect("its owner may");
    store.backed_up(&path).0.expect("a backup");
    assert_eq!(std::fs::metadata(&path).expect("a file").mode() & 0o777, 0o600);
    let before = std::fs::read(&path).expect("a file");
    let failed = store.backed_up(&path).0.expect_err("it exists").message;
    assert!(failed.contains("exists"), "{failed}");
    assert!(std::fs::read(&path).expect("a file") == before);
    let failed = store.backed_up(&folder.0.join("none/backup")).0.expect_err("no folder").message;
    assert!(failed.contains("there is no folder"), "{failed}");
    assert_eq!(folder.others(), ["backup"]);
    assert_eq!(store.append(draft("a", "after")).seq, 101);
}
