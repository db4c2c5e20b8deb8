//! Subscribing, resuming, unsubscribing, leaving.

use super::cursor::{Excuse, Leaving, LeftPattern, ResumePoint};
use super::pending::Interval;
use super::*;

/// What a part misses when it begins: through which sequence number, if anything, and why the client is told of a gap.
type Missed = (Option<u64>, Option<Gap>);

impl ResumePoint {
    /// Whether the client says nothing of what it has received, so that it has missed nothing.
    fn is_unheard(&self) -> bool {
        self.is_start && self.gap.is_none()
    }
}

impl Hub {
    /// Subscribes a stream to what it asks for, besides what it is subscribed to already. What it asks for twice counts
    /// once.
    ///
    /// The first subscriptions of a stream become effective when the stream [begins](Self::begin), all of them as one.
    /// Later ones become effective at once, and say so in the notices: older events of the new topics come next, and if
    /// the client resumes by the id of one of those it is sent the rest of them.
    pub fn subscribe(&mut self, stream: StreamId, cursor: &mut Cursor, request: &Request, now: Instant) -> Vec<Notice> {
        self.expire(now);
        let mut notices = Vec::new();
        let is_first = cursor.is_idle();
        let has_begun = !is_first && !cursor.is_opening();
        if has_begun {
            cursor.parts(); // of the topics that it has before
        }
        let added = self.register(stream, cursor, &request.topics);
        if added.is_empty() {
            cursor.advance(cursor.seq);
            return notices;
        }
        let point = self.resume_point(request, cursor, &added);
        let parts = cursor.parts.get_or_insert_with(Box::default);
        let number = parts.add(added.into(), point.seq);
        if has_begun {
            self.join(cursor, number, &point, &mut notices);
            return notices;
        }
        parts.opening.push(point);
        if is_first {
            self.counts.streams += 1;
            self.counts.resumed += u64::from(request.after.is_some());
        }
        notices
    }

    /// Makes the first subscriptions of a stream effective. Its client is told its position, and of a gap if it has missed
    /// something; then everything goes on from the earliest of the points where the subscriptions resume.
    pub fn begin(&mut self, cursor: &mut Cursor) -> Vec<Notice> {
        let mut notices = Vec::new();
        let mut opening = match &mut cursor.parts {
            Some(parts) if !parts.opening.is_empty() => std::mem::take(&mut parts.opening),
            _ => return notices,
        };
        for (number, point) in opening.iter_mut().enumerate() {
            self.resolve(point, &cursor.topics);
            cursor.parts().list[number].after = point.seq;
        }
        cursor.seq = opening.iter().map(|point| point.seq).min().unwrap_or(self.newest);
        let (mut through, mut gap) = (None, None);
        for (number, point) in opening.iter().enumerate() {
            let (missed, reported) = self.admit(cursor, number, point);
            through = through.max(missed);
            gap = match (gap, reported) {
                (Some(Gap::Forgotten), _) | (_, None) => gap,
                _ => reported,
            };
        }
        let here = Position { seq: cursor.seq, told: through };
        let position = if gap.is_some() { Position { told: Some(0), ..here } } else { here };
        notices.push(self.position_notice(position));
        if let Some(gap) = gap {
            cursor.parts().report(through.unwrap_or(0));
            notices.push(self.gap_notice(here, gap));
        }
        cursor.advance(cursor.seq);
        notices
    }

    /// Makes a later subscription effective. If it begins before the stream's position, the stream goes back for the events
    /// of the new topics, and the client is told so first: resuming from there it gets an event twice, rather than never.
    fn join(&mut self, cursor: &mut Cursor, number: usize, point: &ResumePoint, notices: &mut Vec<Notice>) {
        let before = cursor.seq;
        let (through, gap) = self.admit(cursor, number, point);
        if gap.is_some() {
            cursor.parts().report(through.unwrap_or(0));
        }
        let goes_back = point.seq < before && (gap.is_some() || self.has_before(cursor, number, before));
        let parts = cursor.parts();
        if goes_back {
            for known in &mut parts.list[..number] {
                known.after = known.after.max(before);
            }
            for leaving in &mut parts.leaving {
                leaving.after = leaving.after.max(before);
            }
            parts.went_back_from = parts.went_back_from.max(before);
            cursor.seq = point.seq;
        } else {
            parts.list[number].after = point.seq.max(before);
        }
        let here = Position { seq: cursor.seq, told: through };
        match gap {
            Some(gap) => notices.push(self.gap_notice(here, gap)),
            None if goes_back => notices.push(self.position_notice(here)),
            None => {}
        }
        cursor.advance(cursor.seq);
    }

    /// Finds what a part misses at the point where it resumes, and excuses that.
    fn admit(&mut self, cursor: &mut Cursor, number: usize, point: &ResumePoint) -> Missed {
        let floor = self.missed(cursor, number, point.seq);
        let through = Some(floor).filter(|floor| *floor > point.seq);
        let forgotten = Some(Gap::Forgotten).filter(|_| floor > point.seq.max(point.told));
        // If something of the history is missing the client is told that, whatever else it was to be told.
        let gap = point.gap.filter(|gap| forgotten.is_none() || *gap != Gap::Unknown).or(forgotten);
        // A client that was told of nothing may still miss what it was to begin with, if there is any of that.
        let may_miss = point.is_unheard() && through.is_some() && self.has_before(cursor, number, floor);
        let before = if may_miss { self.evictions } else { u64::MAX };
        let is_newest = self.settings.on_slow == OnSlow::Newest;
        let parts = cursor.parts();
        parts.list[number].excuse = Excuse { through: through.unwrap_or(0), before };
        parts.list[number].plain = through.filter(|_| is_newest).unwrap_or(0);
        if !point.is_unheard() {
            parts.told = parts.told.max(through.unwrap_or(0));
        }
        (through, gap)
    }

    fn position_notice(&self, position: Position) -> Notice {
        Notice::Position(self.epoch.block(position))
    }

    pub(super) fn gap_notice(&mut self, here: Position, gap: Gap) -> Notice {
        self.counts.gaps += 1;
        Notice::Gap(self.epoch.gap(here, &self.settings.gap_event, gap))
    }

    /// Registers a stream with topics, and returns those that are new to it, sorted.
    fn register(&mut self, stream: StreamId, cursor: &mut Cursor, topics: &[Topic]) -> Vec<TopicId> {
        let id_of = |hub: &mut Self, topic: &Topic| match topic {
            Topic::Channel(name) => TopicId::Channel(hub.channel(name) as u32),
            Topic::Pattern(text) => TopicId::Pattern(hub.pattern(text) as u32),
        };
        let mut added: Vec<TopicId> = topics.iter().map(|topic| id_of(self, topic)).collect();
        added.sort_unstable();
        added.dedup();
        added.retain(|topic| cursor.topics.binary_search(topic).is_err());
        for topic in &added {
            if let Some(subscribers) = self.subscribers(*topic) {
                subscribers.add(stream);
            }
        }
        let mut all = [&cursor.topics, &added[..]].concat();
        all.sort_unstable();
        cursor.topics = all.into();
        added
    }

    /// Where a request resumes.
    fn resume_point(&self, request: &Request, cursor: &Cursor, added: &[TopicId]) -> ResumePoint {
        if let Some(point) = request.after.as_deref().and_then(|id| self.point_of(id, &cursor.topics)) {
            return point;
        }
        let seq = match request.start {
            Start::Newest => self.newest,
            Start::Oldest => 0,
            Start::Last(count) => self.before_last(count, added),
        };
        // A client that was never here has missed nothing.
        let gap = request.after.as_ref().map(|_| Gap::Unknown);
        ResumePoint { seq, told: self.newest, gap, unknown_id: request.after.clone(), is_start: true }
    }

    /// What an id says to a stream with these topics; nothing, if it is none of theirs.
    fn point_of(&self, id: &[u8], topics: &[TopicId]) -> Option<ResumePoint> {
        let given = self.custom_ids.seq(id, |channel| self.has_channel(topics, channel)).map(Position::at);
        let Position { seq, told } =
            given.or_else(|| self.epoch.position(id)).filter(|position| position.seq <= self.newest)?;
        let gap = Some(Gap::Unknown).filter(|_| told == Some(0));
        let told = told.unwrap_or(0).min(self.newest);
        Some(ResumePoint { seq: seq, told, gap, unknown_id: None, is_start: false })
    }

    /// Looks again at an id that said nothing when only some of the topics were known.
    fn resolve(&self, point: &mut ResumePoint, topics: &[TopicId]) {
        if let Some(known) = point.unknown_id.take().and_then(|id| self.point_of(&id, topics)) {
            *point = known;
        }
    }

    /// Whether a channel of that name, which may have vanished, is one of the topics'.
    fn has_channel(&self, topics: &[TopicId], name: &[u8]) -> bool {
        let by_name = self.by_name.get(name).map(|at| TopicId::Channel(*at as u32));
        topics.iter().any(|topic| match topic {
            TopicId::Channel(_) => Some(*topic) == by_name,
            TopicId::Pattern(at) => self.patterns[*at as usize].glob.matches(name),
        })
    }

    /// The sequence number before the last so many events.
    fn before_last(&self, count: usize, topics: &[TopicId]) -> u64 {
        let channels: BTreeSet<usize> = self.channels_of(topics).collect();
        let logs = || channels.iter().map(|at| &self.channels[*at].log);
        let all: usize = logs().map(|log| log.after(0).len()).sum();
        if count == 0 {
            return self.newest;
        } else if all < count {
            return 0;
        }
        let mut last: Vec<u64> = logs().flat_map(|log| log.after(0).rev().take(count).map(|entry| entry.seq)).collect();
        let first = last.len() - count;
        *last.select_nth_unstable(first).1 - 1
    }

    /// Unsubscribes a stream from topics; without any, from all. What was published before is still to be sent.
    pub fn unsubscribe(&mut self, stream: StreamId, cursor: &mut Cursor, topics: Option<&[Topic]>) {
        let named = topics.map(|topics| topics.iter().filter_map(|topic| self.known(topic)).collect::<HashSet<_>>());
        let is_left = |topic: &TopicId| named.as_ref().map_or(true, |named| named.contains(topic));
        let (left, kept): (Vec<_>, Vec<_>) = cursor.topics.iter().copied().partition(is_left);
        if left.is_empty() {
            return;
        }
        let leaving = if cursor.is_opening() { Vec::new() } else { self.leaving(cursor, &kept) };
        if cursor.parts.is_some() || !leaving.is_empty() {
            let seq = cursor.seq;
            let parts = cursor.parts();
            parts.leaving.extend(leaving);
            let left: HashSet<TopicId> = left.iter().copied().collect();
            for part in parts.list.iter().filter(|part| part.settled() > seq) {
                for topic in part.topics.iter().filter(|topic| left.contains(topic)) {
                    if let TopicId::Pattern(at) = topic {
                        let glob = self.patterns[*at as usize].glob.clone();
                        parts.left_patterns.push(LeftPattern { glob, through: part.settled(), part: parts.serials });
                    }
                }
            }
            for part in &mut parts.list {
                let kept: Vec<TopicId> = part.topics.iter().copied().filter(|topic| !left.contains(topic)).collect();
                part.topics = kept.into();
            }
            let is_used: Vec<bool> = parts.list.iter().map(|part| !part.topics.is_empty()).collect();
            let mut number = 0..;
            parts.opening.retain(|_| number.next().map_or(false, |at| is_used[at]));
            parts.list.retain(|part| !part.topics.is_empty());
        }
        self.unregister(stream, left);
        cursor.topics = kept.into();
        if cursor.topics.is_empty() && cursor.parts.as_ref().map_or(false, |parts| parts.leaving.is_empty()) {
            cursor.parts = None;
        }
        cursor.advance(cursor.seq);
        self.count_idle(cursor);
    }

    /// A stream that has nothing left to send, and is subscribed to nothing, counts no longer.
    pub(super) fn count_idle(&mut self, cursor: &Cursor) {
        self.counts.streams -= u64::from(cursor.is_idle());
    }

    fn unregister(&mut self, stream: StreamId, topics: Vec<TopicId>) {
        for topic in topics {
            let is_crowded = self.subscribers(topic).map_or(false, |subscribers| subscribers.remove(stream));
            if is_crowded {
                self.mark(topic); // as when one leaves
            }
            self.vanish(topic);
        }
    }

    /// The channels of topics that a stream leaves, as far as there is something that it is still to be sent.
    fn leaving(&self, cursor: &Cursor, kept: &[TopicId]) -> Vec<Leaving> {
        if cursor.parts.is_none() && self.pending_of(cursor).next().is_none() {
            return Vec::new();
        }
        let parts: Vec<&Topics> = match &cursor.parts {
            Some(parts) => parts.list.iter().map(|part| &part.topics).collect(),
            None => vec![&cursor.topics],
        };
        // The channels that each part keeps. One that another topic of the same part has too is not left.
        let is_kept = |topic: &TopicId| kept.binary_search(topic).is_ok();
        let kept_of = |topics: &&Topics| {
            let kept: Vec<TopicId> = topics.iter().copied().filter(is_kept).collect();
            self.channels_of(&kept).collect::<HashSet<usize>>()
        };
        let kept: Vec<HashSet<usize>> = parts.iter().map(kept_of).collect();
        let part = cursor.parts.as_ref().map_or(1, |parts| parts.serials);
        let intervals = self.intervals(cursor, cursor.seq).into_iter();
        let left = intervals.filter(|interval| interval.part.map_or(false, |at| !kept[at].contains(&interval.channel)));
        let leaving = left.filter_map(|interval| {
            let last = self.entries_of(&interval).and_then(|entries| entries.last()).map(|last| last.seq);
            let is_of_others = kept.iter().any(|kept| kept.contains(&interval.channel));
            let Interval { channel, after, excuse, plain, .. } = interval;
            let settled = excuse.settles().max(after);
            let until = if is_of_others { last.unwrap_or(settled).max(settled) } else { last? };
            let serial = self.channels[channel].serial;
            Some(Leaving { channel, serial, after, until, part, excuse, plain })
        });
        leaving.collect()
    }

    /// A stream is there no longer.
    pub fn leave(&mut self, cursor: Cursor) {
        self.counts.streams -= u64::from(!cursor.is_idle());
        for topic in &*cursor.topics {
            let is_crowded = self.subscribers(*topic).map_or(false, SubscriberList::leave);
            if is_crowded {
                self.mark(*topic); // to be walked, and so cleared, though nothing was published
            }
            self.vanish(*topic);
        }
    }
}
