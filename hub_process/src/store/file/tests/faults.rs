//! Disks that are full, files that are damaged, removed or read-only, and copies.

use super::*;
use std::os::unix::fs::FileExt;
use std::process::Command;

/// A child's name in `Scene`s that need a file system of their own.
const CHILD: &str = "EVENTSOURCE_STORE_FAULT";

/// Runs a test of this file in a child that has a file system of its own: `set_up` is a shell command, `$0` the folder.
fn in_own_mounts(test: &str, folder: &Folder, set_up: &str) {
    let program = std::env::current_exe().expect("a path");
    let script =
        format!("{set_up} && exec \"$1\" --exact store::file::tests::faults::{test} --nocapture --include-ignored");
    let mut child = Command::new("unshare");
    child.args(["-m", "sh", "-c", &script]).arg(&folder.0).arg(program).env(CHILD, &folder.0);
    let output = match child.output() {
        Ok(output) => output,
        Err(error) => return skip(&format!("unshare: {error}")),
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    if errors.contains("unshare:") || errors.contains("mount:") {
        return skip(errors.trim());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}\n{errors}");
}

/// Skips a test that needs what is not there; where everything has to be there, it fails.
pub(super) fn skip(reason: &str) {
    assert!(std::env::var_os("EVENTSOURCE_XS_FULL").is_none(), "skipped: {reason}");
    eprintln!("skipped: {reason}");
}

fn folder_of_child() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(PathBuf::from)
}

#[test]
fn a_full_disk_fails_drafts_until_there_is_room() {
    in_own_mounts("child_with_a_small_disk", &Folder::new(), "mount -t tmpfs -o size=1m tmpfs \"$0\"");
}

#[test]
#[ignore = "a_full_disk_fails_drafts_until_there_is_room runs it"]
fn child_with_a_small_disk() {
    let Some(folder) = folder_of_child() else { return };
    std::fs::write(folder.join("other"), vec![b'x'; 400 << 10]).expect("room");
    let path = folder.join("events");
    let (mut store, first) = Running::begin(&path, FileSync::Event);
    let data = "x".repeat(10_000);
    let mut appended = Vec::new();
    let failure = loop {
        match store.try_append(draft("a", &data)) {
            Ok(entry) => appended.push(entry),
            Err(failure) => break failure,
        }
        assert!(appended.len() < 1_000, "the disk is not full");
    };
    assert_eq!(failure.code, eventsource_xs::ErrorCode::Unavailable);
    assert_eq!(&*failure.message, format!("{}: the disk is full", path.display()));
    let status = store.status();
    assert!(!status.is_up && status.failed == 1 && status.last_error == failure.message, "{status:?}");
    assert!(store.try_append(draft("a", &data)).is_err());

    std::fs::remove_file(folder.join("other")).expect("a file");
    let last = appended.last().map_or(0, |entry| entry.seq);
    let entry = store.append(draft("a", &data));
    assert_eq!(entry.seq, last + 1, "a number that was never reported is free");
    assert!(store.status().is_up);
    appended.push(entry);
    store.close();

    let (store, again) = Running::begin(&path, FileSync::Event);
    assert_eq!((again.began.history.epoch, again.entries), (first.began.history.epoch, without_tickets(appended)));
    store.close();

    // A disk that is full from the beginning. Before that, one that has no room for a backup.
    let (mut store, _) = Running::begin(&path, FileSync::Event);
    let copies: Vec<_> = (0..3).map(|number| (folder.join(number.to_string()), number)).collect();
    let failed = copies.iter().find_map(|(copy, _)| store.backed_up(copy).0.err()).expect("no room for three");
    assert!(failed.message.contains("the disk is full") || failed.message.contains("No space"), "{failed:?}");
    let (whole, parts): (Vec<_>, Vec<_>) = copies.into_iter().partition(|(copy, _)| copy.exists());
    assert!(!parts.is_empty() && !folder.join(format!("{}.part", parts[0].1)).exists(), "{parts:?}");
    whole.iter().for_each(|(copy, _)| std::fs::remove_file(copy).expect("a file"));
    store.append(draft("a", "x"));
    store.close();
    std::fs::remove_file(&path).expect("a file");
    let room = std::fs::File::create(folder.join("other")).expect("a file");
    let mut count = 0;
    while room.write_at(&[b'x'; 4096], count).is_ok_and(|written| written == 4096) {
        count += 4096;
    }
    let mut store = Running::start(&path, FileSync::Event, &Machine::default());
    let (message, retries) = store.cannot_begin();
    assert!(message.contains("the disk is full") && retries, "{message}");
    assert!(store.try_append(draft("a", "x")).is_err());
    drop(room);
    std::fs::remove_file(folder.join("other")).expect("a file");
    assert_eq!(store.beginning().began.history.last_seq, 0);
    assert_eq!(store.append(draft("a", "x")).seq, 1);
}

#[test]
fn a_read_only_folder_is_refused() {
    let folder = Folder::new();
    let mount = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\"";
    in_own_mounts("child_with_a_read_only_folder", &folder, mount);
    Running::begin(&folder.file(), FileSync::Second).0.close();
    in_own_mounts("child_with_a_read_only_folder", &folder, mount);
}

#[test]
#[ignore = "a_read_only_folder_is_refused runs it"]
fn child_with_a_read_only_folder() {
    let Some(folder) = folder_of_child() else { return };
    let path = folder.join("events");
    let (message, retries) = Running::start(&path, FileSync::Second, &Machine::default()).cannot_begin();
    assert!(message.contains("Read-only") && message.contains(path.to_str().expect("a path")) && !retries, "{message}");
}

#[test]
fn a_path_that_cannot_be_is_refused_with_the_remedy() {
    let folder = Folder::new();
    std::fs::write(folder.0.join("text"), "text").expect("room");
    for (name, expected) in
        [("none/events", "none. Create it"), ("text/events", "text. Create it"), ("", "Is a directory")]
    {
        let path = folder.0.join(name);
        let (message, retries) = Running::start(&path, FileSync::Second, &Machine::default()).cannot_begin();
        assert!(message.contains(expected) && !retries, "{message}");
    }
}

#[test]
fn the_files_of_others_and_of_other_versions_are_refused_untouched() {
    let folder = Folder::new();
    let theirs = rusqlite::Connection::open(folder.file()).expect("a database");
    theirs.execute_batch("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)").expect("a table");
    drop(theirs);
    let before = std::fs::read(folder.file()).expect("a file");
    let (message, retries) = Running::start(&folder.file(), FileSync::Second, &Machine::default()).cannot_begin();
    assert!(message.contains("is a database of another program") && !retries, "{message}");
    assert_eq!(std::fs::read(folder.file()).expect("a file"), before);

    let text = folder.0.join("text");
    std::fs::write(&text, "another program's\n".repeat(1000)).expect("a file");
    let (message, retries) = Running::start(&text, FileSync::Second, &Machine::default()).cannot_begin();
    assert!(message.contains("file is not a database") && !retries, "{message}");

    let later = folder.0.join("later");
    Running::begin(&later, FileSync::Second).0.close();
    for format in [3, 5] {
        let database = rusqlite::Connection::open(&later).expect("a database");
        database.execute("UPDATE meta SET value = ?1 WHERE name = 'format'", [format]).expect("a store");
        drop(database);
        let (message, retries) = Running::start(&later, FileSync::Second, &Machine::default()).cannot_begin();
        assert!(message.contains(&format!("has the format {format}")) && !retries, "{message}");
    }
    assert_eq!(folder.others(), ["later", "later-wal", "text"]);
}

/// Writes bytes into a file that a store has closed.
fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let file = std::fs::OpenOptions::new().write(true).open(path).expect("a file");
    file.write_all_at(bytes, at).expect("room");
}

/// Returns how many bytes after a position the data of an entry of [`filled`] is.
fn zeros(path: &Path, at: u64) -> u64 {
    let bytes = std::fs::read(path).expect("a file");
    let data = bytes[at as usize..].windows(100).position(|bytes| bytes == [b'0'; 100]);
    data.expect("an entry") as u64 + 50
}

/// Returns a file with 300 entries of a kilobyte, and its epoch.
fn filled(folder: &Folder) -> Began {
    let (mut store, first) = Running::begin(&folder.file(), FileSync::Second);
    for number in 0..300 {
        store.append(draft("a", &format!("{number:01000}")));
    }
    store.close();
    first.began
}

#[test]
fn a_damaged_file_is_set_aside_and_a_new_epoch_begins() {
    let size = |folder: &Folder| std::fs::metadata(folder.file()).expect("a file").len();
    for (what, at, bytes) in [
        ("the header", 0.0, vec![0xA5; 100]),
        ("the first page", 0.0, vec![0xA5; 4096]),
        ("the middle", 0.5, vec![0xA5; 5000]),
        ("one byte of an entry", 0.5, vec![b'7']),
        ("the end", 0.9, vec![0; 5000]),
    ] {
        let folder = Folder::new();
        let first = filled(&folder);
        let mut at = (at * size(&folder) as f64) as u64;
        if bytes.len() == 1 {
            at += zeros(&folder.file(), at);
        }
        overwrite(&folder.file(), at, &bytes);
        let (mut store, again) = Running::begin(&folder.file(), FileSync::Second);
        assert!(
            again.began.history.epoch != first.history.epoch
                && again.began.history.cipher_key != first.history.cipher_key,
            "{what}"
        );
        assert_eq!((again.began.history.last_seq, again.entries.len()), (0, 0), "{what}");
        let others = folder.others();
        assert_eq!(others.len(), 2, "{what}: {others:?}"); // the WAL of a closed file is empty, but is there
        assert_eq!(others[0], "events.corrupt-20231114T221320", "{what}");
        assert_eq!(others[1], "events.corrupt-20231114T221320-wal", "{what}");
        assert!(again.began.reason.contains(&others[0]), "{what}: {}", again.began.reason);
        assert_eq!((store.append(draft("a", "x")).seq, store.status().epoch_changes), (1, 1), "{what}");
        store.close();
        let (_store, third) = Running::begin(&folder.file(), FileSync::Second);
        assert_eq!((third.began.history.epoch, &*third.began.reason), (again.began.history.epoch, ""), "{what}");
    }
}

/// Rows that the store would not have written, in tables whose rows have no checksums.
#[test]
fn numbers_that_cannot_be_begin_a_new_epoch() {
    for statement in [
        "INSERT OR REPLACE INTO evicted VALUES (CAST('a' AS BLOB), 900)",
        "INSERT OR REPLACE INTO evicted VALUES (CAST('other' AS BLOB), -1)",
        "INSERT OR REPLACE INTO meta VALUES ('evicted_through', 301)",
        "INSERT OR REPLACE INTO meta VALUES ('evicted_through', -5)",
        "INSERT OR REPLACE INTO meta VALUES ('evicted_through', 'many')",
        "INSERT OR REPLACE INTO meta VALUES ('last_seq', 9223372036854775807)",
        "INSERT OR REPLACE INTO meta VALUES ('last_seq', -1)",
        "INSERT OR REPLACE INTO meta VALUES ('last_at', -1)",
        "INSERT OR REPLACE INTO meta VALUES ('epoch', 'two lines' || char(10))",
        "INSERT OR REPLACE INTO meta VALUES ('epoch', 'farlongerthansixteen')",
        "INSERT OR REPLACE INTO meta VALUES ('cipher_key', x'00')",
        "UPDATE entries SET seq = 301 WHERE seq = 17",
    ] {
        let folder = Folder::new();
        let first = filled(&folder);
        let database = rusqlite::Connection::open(folder.file()).expect("a database");
        database.execute_batch(statement).expect("a store");
        drop(database);
        let (mut store, again) = Running::begin(&folder.file(), FileSync::Second);
        assert_ne!(again.began.history.epoch, first.history.epoch, "{statement}");
        assert!(again.began.reason.contains("was damaged"), "{statement}: {}", again.began.reason);
        let seq = store.append(draft("a", "x")).seq;
        let evicted = again
            .began
            .history
            .evicted
            .iter()
            .map(|(_, through)| *through)
            .fold(again.began.history.evicted_through, u64::max);
        assert!(seq > evicted, "{statement}: it would count as evicted");
    }
}

#[test]
fn a_store_behind_a_symbolic_link_begins_and_continues() {
    let folder = Folder::new();
    let link = folder.0.join("link");
    std::fs::create_dir(folder.0.join("disk")).expect("a folder");
    let target = folder.0.join("disk/events");
    std::os::unix::fs::symlink("disk/events", &link).expect("a link");
    let (mut store, first) = Running::begin(&link, FileSync::Second);
    store.append(draft("a", "x"));
    store.close();
    let (mut store, again) = Running::begin(&link, FileSync::Second);
    assert_eq!((again.began.history.epoch, again.entries.len()), (first.began.history.epoch.clone(), 1));
    assert!(Running::start(&target, FileSync::Second, &Machine::default())
        .cannot_begin()
        .0
        .contains("another hub uses"));
    store.append(draft("a", "y"));
    store.close();
    // A damaged file is set aside, not the link to it.
    overwrite(&target, 0, &[0xA5; 100]);
    let (mut store, third) = Running::begin(&link, FileSync::Second);
    assert!(third.began.history.epoch != first.began.history.epoch && third.entries.is_empty());
    assert!(std::fs::symlink_metadata(&link).expect("a link").is_symlink());
    let count = std::fs::read_dir(folder.0.join("disk")).expect("a folder").count();
    assert_eq!(count, 4, "the file and its WAL, and what was damaged");
    // A link that leads to another file from now on is another file.
    std::fs::remove_file(&link).expect("a link");
    std::os::unix::fs::symlink("disk/another", &link).expect("a link");
    store.append(draft("a", "z"));
    let fourth = store.beginning();
    assert!(fourth.began.history.epoch != third.began.history.epoch && fourth.entries.is_empty(), "{:?}", fourth.began);
}

#[test]
fn a_file_that_is_cut_off_is_set_aside() {
    let folder = Folder::new();
    let first = filled(&folder);
    let file = std::fs::OpenOptions::new().write(true).open(folder.file()).expect("a file");
    file.set_len(100 * 1024).expect("a file");
    let (_store, again) = Running::begin(&folder.file(), FileSync::Second);
    assert!(
        again.began.history.epoch != first.history.epoch && again.entries.is_empty() && !again.began.reason.is_empty()
    );
}

/// Returns a store whose file has garbage behind its first page, which it does not know yet.
fn damaged_while_running(folder: &Folder) -> Running {
    filled(folder);
    let (mut store, _) = Running::begin(&folder.file(), FileSync::Second);
    // More than SQLite has in memory.
    let data = "x".repeat(100_000);
    for _ in 0..100 {
        store.append(draft("b", &data));
    }
    let size = std::fs::metadata(folder.file()).expect("a file").len();
    overwrite(&folder.file(), 4096, &vec![0xA5; size as usize - 4096]);
    overwrite(&folder.0.join("events-wal"), 32, &[0xA5; 1 << 20]);
    store.forget("a", 300, 1..=300);
    store.forget("b", 350, 301..=350);
    store
}

#[test]
fn damage_that_is_found_later_begins_a_new_epoch_and_a_draft_fails_or_is_in_the_new_file() {
    for is_closed in [false, true] {
        let folder = Folder::new();
        let mut store = damaged_while_running(&folder);
        let asked = store.ask(draft("a", "after the damage"));
        if is_closed {
            store.store.send(StoreCommand::Close);
        }
        let first = store.next();
        let has_failed = matches!(&first, StoreReport::Failed { ticket, .. } if *ticket == asked);
        if !has_failed {
            store.reports.push_front(first);
        }
        let Began { reason, history: History { last_seq, .. }, .. } = store.beginning().began;
        assert!(reason.contains("was damaged") && last_seq == 0, "{reason}");
        if !has_failed {
            match store.next() {
                StoreReport::Entries(entries) => assert_eq!((entries[0].seq, entries[0].ticket), (1, Some(asked))),
                other => panic!("{other:?}"),
            }
        }
        if is_closed {
            store.wait_for_end();
        } else {
            assert_eq!((store.status().epoch_changes, store.status().is_up), (1, true));
        }
    }
}

#[test]
fn a_file_that_is_removed_or_replaced_is_noticed_at_the_next_write() {
    let (folder, mut store, first) = Folder::begun(FileSync::Second);
    let kept = store.append(draft("a", "1"));
    store.close();
    std::fs::copy(folder.file(), folder.0.join("copy")).expect("room");
    let (mut store, _) = Running::begin(&folder.file(), FileSync::Second);
    store.append(draft("a", "2"));

    std::fs::rename(folder.0.join("copy"), folder.file()).expect("a file");
    store.append(draft("a", "3"));
    let second = store.beginning();
    assert!(
        second.began.history.epoch != first.began.history.epoch && second.began.reason.contains("replaced"),
        "{:?}",
        second.began
    );
    assert_eq!(second.entries, without_tickets(vec![kept]));

    std::fs::remove_file(folder.file()).expect("a file");
    store.append(draft("a", "4"));
    let third = store.beginning();
    assert!(
        third.began.history.epoch != second.began.history.epoch
            && third.entries.is_empty()
            && third.began.history.last_seq == 0
    );
    assert_eq!((store.append(draft("a", "5")).seq, store.status().epoch_changes), (1, 2));
}

#[test]
fn a_wal_that_is_removed_or_replaced_is_restored() {
    for is_replaced in [false, true] {
        let folder = Folder::new();
        let wal = folder.0.join("events-wal");
        let (mut store, first) = Running::begin(&folder.file(), FileSync::Second);
        store.append(draft("a", "1"));
        std::fs::remove_file(&wal).expect("a WAL");
        if is_replaced {
            std::fs::write(&wal, "other").expect("room");
        }
        store.append(draft("a", "2"));
        let deadline = Instant::now() + DEADLINE;
        while std::fs::read(&wal).map_or(true, |bytes| bytes == b"other") {
            assert!(Instant::now() < deadline, "no WAL");
            std::thread::sleep(Duration::from_millis(1));
        }
        store.append(draft("a", "3"));
        store.close();
        let (_store, again) = Running::begin(&folder.file(), FileSync::Second);
        assert_eq!((again.began.history.epoch, seqs(&again.entries)), (first.began.history.epoch, vec![1, 2, 3]));
    }
}

#[test]
fn a_copy_has_a_new_epoch_and_the_entries() {
    let (folder, mut store, first) = Folder::begun(FileSync::Event);
    store.append(draft("a", "1"));
    store.close();
    std::fs::copy(folder.file(), folder.0.join("backup")).expect("room");
    std::fs::rename(folder.0.join("backup"), folder.file()).expect("a file");
    let (store, again) = Running::begin(&folder.file(), FileSync::Event);
    assert!(
        again.began.history.epoch != first.began.history.epoch
            && again.began.history.cipher_key != first.began.history.cipher_key
    );
    assert!(again.began.reason.contains("is a copy") && seqs(&again.entries) == [1], "{:?}", again.began);
    assert_eq!(store.status().epoch_changes, 1);
}
