//! Processes that are killed, machines that go down, and what the system calls of a process say.

use super::faults::skip;
use super::*;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

/// The path of the file for a child.
const PATH: &str = "EVENTSOURCE_STORE_PATH";
const SYNC: &str = "EVENTSOURCE_STORE_SYNC";
/// The milliseconds between the appends of a child, and how many there are. Without it, it appends bursts until it is killed.
const PACE: &str = "EVENTSOURCE_STORE_PACE";

fn child(path: &Path, sync: FileSync, wrapper: &[&str]) -> Command {
    let program = std::env::current_exe().expect("a path");
    let mut command = match wrapper {
        [] => Command::new(program),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
    };
    command.args(["--exact", "store::file::tests::killed::child_that_appends", "--nocapture", "--include-ignored"]);
    command.env(PATH, path).env(SYNC, (sync as u8).to_string()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// Writes a line at once, as a system call of its own.
fn say(text: &str) {
    let _ = std::io::stdout().lock().write_all(format!("{text}\n").as_bytes());
}

#[test]
#[ignore = "other tests run it"]
fn child_that_appends() {
    let Some(path) = std::env::var_os(PATH).map(PathBuf::from) else { return };
    let sync = ALL[std::env::var(SYNC).expect("a number").parse::<usize>().expect("a number")];
    let (mut store, first) = Running::begin(&path, sync);
    say(&format!("began {} {}", first.began.history.epoch, first.began.history.last_seq));
    if let Ok(pace) = std::env::var(PACE) {
        let (pause, count) = pace.split_once(' ').expect("two numbers");
        for _ in 0..count.parse().expect("a number") {
            let entry = store.append(draft("a", "x"));
            say(&format!("entry {} x", entry.seq));
            std::thread::sleep(Duration::from_millis(pause.parse().expect("a number")));
        }
        std::process::exit(0);
    }
    let mut random = fastrand::Rng::new();
    for number in 0.. {
        for burst in 0..random.u32(1..20) {
            store.ask(keyed(["a", "b"][random.usize(0..2)], "", &format!("{}-{number}-{burst}", std::process::id())));
        }
        let mut through = 0;
        while through < store.tickets {
            let StoreReport::Entries(entries) = store.next() else { panic!("a failure") };
            let mut lines = String::new();
            for entry in &entries {
                through = through.max(entry.ticket.unwrap_or(0));
                lines += &format!("entry {} {}\n", entry.seq, shown(entry));
            }
            let _ = std::io::stdout().lock().write_all(lines.as_bytes());
        }
        if random.u8(0..20) == 0 {
            store.forget("b", first.began.history.last_seq, []);
        }
    }
}

/// Returns the fields of an entry as one word.
fn shown(entry: &StoreEntry) -> String {
    format!("{:?}", entry.draft.fields).replace(' ', "")
}

/// A child, and what it has said.
struct Appender {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Appender {
    fn start(path: &Path, sync: FileSync) -> Self {
        let mut child = child(path, sync, &[]).spawn().expect("a child");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Self { child, lines }
    }

    /// Returns the words of the next line that begins with a word.
    fn next(&mut self, word: &str) -> Option<Vec<String>> {
        let line = self.lines.by_ref().map_while(Result::ok).find(|line| line.starts_with(word))?;
        Some(line.split(' ').skip(1).map(str::to_owned).collect())
    }

    fn kill(&mut self) {
        self.child.kill().expect("a child");
        self.child.wait().expect("a child");
    }

    /// Returns the entries that it has reported, after its end.
    fn reported(&mut self) -> Vec<(u64, String)> {
        let mut entries = Vec::new();
        while let Some(words) = self.next("entry ") {
            // A line that was cut off is not reported.
            if let (Some(Ok(seq)), Some(fields)) = (words.first().map(|seq| seq.parse()), words.get(1)) {
                if fields.ends_with(')') {
                    entries.push((seq, fields.clone()));
                }
            }
        }
        entries
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn every_reported_entry_survives_a_kill_and_no_number_is_used_twice() {
    let folder = Folder::new();
    let mut random = fastrand::Rng::new();
    let mut reported: BTreeMap<u64, String> = BTreeMap::new();
    let mut epoch = String::new();
    for round in 0..50 {
        let sync = ALL[round % 3];
        let mut appender = Appender::start(&folder.file(), sync);
        let began = appender.next("began ").expect("a beginning");
        assert!(epoch.is_empty() || began[0] == epoch, "round {round}");
        epoch.clone_from(&began[0]);
        assert!(began[1].parse::<u64>().expect("a number") >= reported.last_key_value().map_or(0, |(seq, _)| *seq));
        std::thread::sleep(Duration::from_micros(random.u64(0..60_000)));
        appender.kill();
        for (seq, fields) in appender.reported() {
            assert_eq!(reported.insert(seq, fields), None, "round {round}: {seq} was used twice");
        }
        if round % 5 == 4 {
            let (store, found) = Running::begin(&folder.file(), sync);
            assert_eq!((&*found.began.history.epoch, &*found.began.reason), (&*epoch, ""));
            let evicted = found.began.history.evicted.iter().map(|(_, through)| *through).max().unwrap_or(0);
            let entries: BTreeMap<u64, &StoreEntry> = found.entries.iter().map(|entry| (entry.seq, entry)).collect();
            for (seq, fields) in &reported {
                match entries.get(seq) {
                    Some(entry) => assert_eq!(&shown(entry), fields),
                    None => assert!(*seq <= evicted, "round {round}: {seq} is gone"),
                }
            }
            store.close();
        }
    }
    println!("{} entries were reported by 50 processes that were killed", reported.len());
    assert!(reported.len() > 1_000, "{}", reported.len());
}

/// Returns a file whose process was killed after some entries, and its epoch.
fn killed(folder: &Folder, sync: FileSync) -> String {
    let mut appender = Appender::start(&folder.file(), sync);
    let epoch = appender.next("began ").expect("a beginning").remove(0);
    appender.next("entry ").expect("an entry");
    appender.kill();
    epoch
}

#[test]
fn the_epoch_is_new_after_an_unclean_boot_unless_each_event_is_synced() {
    for sync in ALL {
        let folder = Folder::new();
        let epoch = killed(&folder, sync);
        let machine = Machine { boot: "boot 2", ..Machine::default() };
        // The last process's mode of syncing counts.
        let (store, found) = Running::begin_on(&folder.file(), FileSync::Event, &machine);
        let is_event = sync == FileSync::Event;
        assert_eq!(
            (*found.began.history.epoch == *epoch, found.began.reason.is_empty()),
            (is_event, is_event),
            "{sync:?}"
        );
        assert!(!found.entries.is_empty(), "{sync:?}: the entries are kept");
        let later = found.began.history.epoch;
        store.close();
        let (_store, again) = Running::begin_on(&folder.file(), sync, &machine);
        assert_eq!(again.began.history.epoch, later);
    }
}

/// After a loss of power the WAL ends with what was synced, and anything may follow.
#[test]
fn a_wal_with_a_torn_end_leaves_the_entries_before_it() {
    for (sync, cut) in [(FileSync::Never, 50_000), (FileSync::Second, 10_000), (FileSync::Event, 0)] {
        let folder = Folder::new();
        let mut appender = Appender::start(&folder.file(), sync);
        let epoch = appender.next("began ").expect("a beginning").remove(0);
        appender.next("entry ").expect("an entry");
        std::thread::sleep(Duration::from_millis(50));
        appender.kill();
        let reported = appender.reported();
        let wal = std::fs::OpenOptions::new().append(true).open(folder.0.join("events-wal")).expect("a WAL");
        let size = wal.metadata().expect("a WAL").len();
        wal.set_len(size - size.min(cut)).expect("a WAL");
        (&wal).write_all(&[0xA5; 6_000]).expect("room");
        let machine = Machine { boot: "boot 2", ..Machine::default() };
        let (mut store, found) = Running::begin_on(&folder.file(), sync, &machine);
        let is_event = sync == FileSync::Event;
        assert_eq!(
            (*found.began.history.epoch == *epoch, found.began.reason.is_empty()),
            (is_event, is_event),
            "{sync:?}"
        );
        assert!(seqs(&found.entries).windows(2).all(|two| two[0] < two[1]), "{sync:?}");
        if is_event {
            let (seq, fields) = reported.last().expect("an entry");
            assert!(found.entries.iter().any(|entry| (entry.seq, &shown(entry)) == (*seq, fields)), "{seq} is gone");
        }
        assert_eq!(store.append(draft("a", "x")).seq, found.began.history.last_seq + 1);
    }
}

#[test]
fn the_epoch_is_new_if_the_wal_of_a_killed_process_is_missing_unless_another_program_has_moved_it_into_the_file() {
    for (is_moved, boot, is_delivered_known, continues) in [
        (false, "boot 1", true, false),
        (true, "boot 1", true, true),
        (true, "boot 1", false, false),
        (true, "boot 2", true, false),
    ] {
        let folder = Folder::new();
        let mut appender = Appender::start(&folder.file(), FileSync::Event);
        let epoch = appender.next("began ").expect("a beginning").remove(0);
        appender.next("entry ").expect("an entry");
        appender.kill();
        let (last, wal) = (appender.reported().last().map_or(1, |(seq, _)| *seq), folder.0.join("events-wal"));
        match is_moved {
            true => rusqlite::Connection::open(folder.file())
                .and_then(|looks| looks.query_row("SELECT count(*) FROM entries", [], |row| row.get::<_, u64>(0)))
                .map_or_else(|error| panic!("{error}"), |count| assert!(count > 0)),
            false => std::fs::remove_file(&wal).expect("a WAL"),
        }
        assert!(!wal.exists());
        let delivered = is_delivered_known.then(|| Delivered { epoch: (*epoch).into(), seq: last });
        let machine = Machine { boot, delivered, ..Machine::default() };
        let (_store, Beginning { began, .. }) = Running::begin_on(&folder.file(), FileSync::Event, &machine);
        assert_eq!((*began.history.epoch == *epoch, began.reason.is_empty()), (continues, continues), "{began:?}");
        assert!(continues || began.reason.contains("-wal is missing"), "{began:?}");
    }
}

/// Returns the system calls of a child, one for each line: syncs, and what it has said.
fn traced(folder: &Folder, sync: FileSync, pace: &str) -> Option<Vec<String>> {
    let trace = folder.0.join("trace");
    let wrapper =
        ["strace", "-f", "-s", "64", "-e", "trace=fsync,fdatasync,write", "-o", trace.to_str().expect("a path")];
    let output = child(&folder.file(), sync, &wrapper).env(PACE, pace).output();
    let trace = std::fs::read_to_string(&trace).unwrap_or_default();
    match output {
        Ok(output) if output.status.success() && trace.contains("entry") => {
            let is_sync = |line: &str| line.contains("fdatasync(") || line.contains("fsync(");
            let lines = trace.lines().filter(|line| is_sync(line) || line.contains("\"entry "));
            Some(lines.skip_while(|line| is_sync(line)).map(str::to_owned).collect())
        }
        Ok(output) => {
            skip(&format!("strace: {}", output.status));
            None
        }
        Err(error) => {
            skip(&format!("strace: {error}"));
            None
        }
    }
}

fn syncs(lines: &[String]) -> usize {
    lines.iter().filter(|line| !line.contains("\"entry ")).count()
}

#[test]
fn each_event_is_synced_before_it_is_reported() {
    let Some(lines) = traced(&Folder::new(), FileSync::Event, "0 30") else { return };
    let entries: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].contains("\"entry ")).collect();
    assert_eq!(entries.len(), 30);
    assert!(entries.windows(2).all(|two| syncs(&lines[two[0]..two[1]]) >= 1), "{lines:#?}");
}

#[test]
fn events_are_synced_each_second() {
    let begun = Instant::now();
    let Some(lines) = traced(&Folder::new(), FileSync::Second, "50 60") else { return };
    let most = begun.elapsed().as_secs() as usize + 1;
    println!("{} syncs in {:?}", syncs(&lines), begun.elapsed());
    assert!((1..=most).contains(&syncs(&lines)), "{lines:#?}");
}

#[test]
fn no_event_is_synced_if_the_system_is_to_decide() {
    let Some(lines) = traced(&Folder::new(), FileSync::Never, "50 30") else { return };
    assert_eq!(syncs(&lines), 0, "{lines:#?}");
}
