//! Beginning to follow, being sent, being overtaken, leaving.

use super::merge::Picked;
use super::*;

/// Where a stream begins.
struct From {
    place: u64,
    /// It has been told already, or need not be told, of what is forgotten through this place.
    told: u64,
    /// Why it has to be told of a gap in any case.
    gap: Option<Gap>,
    /// Whether it begins where the application says, not where its client was.
    is_start: bool,
}

impl From {
    /// Whether its client says nothing of what it has received.
    fn is_unheard(&self) -> bool {
        self.is_start && self.gap.is_none()
    }
}

impl Cursor {
    /// Whether it follows anything.
    pub fn is_following(&self) -> bool {
        !self.topics.is_empty()
    }

    /// Whether it is still to be told of events before its place, by [`replay`](Hub::replay).
    pub fn is_replaying(&self) -> bool {
        self.replayed.is_some()
    }
}

impl Hub {
    /// Has a stream follow what it asks for, besides what it follows already, and says what it is told first: where it
    /// follows nothing yet, its position; then a gap, if it has missed something; then what the order of places cannot
    /// bring. What it follows twice counts once.
    pub fn follow(&mut self, stream: StreamId, cursor: &mut Cursor, request: &Request, now: Instant) -> Vec<Notice> {
        self.expire(now);
        let mut told = Vec::new();
        let known = cursor.topics.to_vec();
        let added = self.add_topics(stream, cursor, &request.topics);
        if added.is_empty() {
            return told;
        }
        let from = self.beginning(request, &added);
        if known.is_empty() {
            let after = self.tell_beginning(&from, self.forgotten(&added), true, &mut told);
            if from.is_unheard() {
                // It was told of nothing, so the id of what it has been sent says no more than that.
                let events = self.pending(&added, from.place, false).take_while(|logged| logged.place <= after);
                told.extend(events.map(|logged| Notice::Event(logged.event.clone())));
                self.counts.delivered += told.len() as u64 - 1;
            } else {
                cursor.replayed = Some(from.place).filter(|place| *place < after);
            }
            self.counts.streams += 1;
            self.counts.resumed += u64::from(request.after.is_some());
            cursor.place = after;
            self.replay(cursor, &mut told);
        } else {
            self.follow_more(cursor, known, &added, &from, &mut told);
        }
        told
    }

    /// Brings a stream what it follows from now on to where it is. It is not sent again what it has followed before.
    fn follow_more(
        &mut self,
        cursor: &mut Cursor,
        known: Vec<TopicId>,
        added: &[TopicId],
        from: &From,
        told: &mut Vec<Notice>,
    ) {
        let others: HashSet<usize> = self.channels_of(&known).collect();
        let mut beside: Vec<usize> = self.channels_of(added).filter(|at| !others.contains(at)).collect();
        beside.sort_unstable();
        beside.dedup();
        let beside: Vec<TopicId> = beside.into_iter().map(|at| TopicId::Channel(at as u32)).collect();
        let mut floor = self.forgotten(added);
        if floor > from.place {
            floor = self.forgotten(&beside).max(self.gone_of(added, &known));
        }
        if from.gap.is_none() && from.place == cursor.place && floor <= from.place && !cursor.is_replaying() {
            return; // the order of places brings all of it
        }
        // What it has followed before goes its own way up to here.
        let all = std::mem::replace(&mut cursor.topics, known.into());
        self.take_pending(cursor, told);
        cursor.topics = all;
        let before = told.len();
        let after = self.tell_beginning(from, floor, false, told);
        self.counts.delivered += self.tell_before(self.pending(&beside, from.place, false), after, told);
        let told_before = told.len();
        told.extend(self.pending(&beside, after, false).map(|logged| Notice::Event(logged.event.clone())));
        self.counts.delivered += (told.len() - told_before) as u64;
        if told.len() > before {
            told.push(Notice::Position(Position::at(self.newest).block(&self.epoch)));
        }
    }

    /// Adds to what a stream follows, and says what was new.
    fn add_topics(&mut self, stream: StreamId, cursor: &mut Cursor, topics: &[Topic]) -> Vec<TopicId> {
        let known = cursor.topics.to_vec();
        let followed = |hub: &mut Self, topic: &Topic| match topic {
            Topic::Channel(name) => TopicId::Channel(hub.channel(name) as u32),
            Topic::Pattern(text) => TopicId::Pattern(hub.pattern(text) as u32),
        };
        let mut added: Vec<TopicId> = topics.iter().map(|topic| followed(self, topic)).collect();
        added.sort_unstable();
        added.dedup();
        added.retain(|topic| known.binary_search(topic).is_err());
        for topic in &added {
            if let Some(followers) = self.followers(*topic) {
                followers.add(stream);
            }
        }
        let mut all = [known, added.clone()].concat();
        all.sort_unstable();
        cursor.topics = all.into();
        added
    }

    /// Where a stream begins that asks for this.
    fn beginning(&self, request: &Request, topics: &[TopicId]) -> From {
        if let Some(id) = request.after.as_deref() {
            let known = self.ids.place(id).map(Position::at).or_else(|| Position::parse(id, &self.epoch));
            if let Some(Position { place, told }) = known.filter(|position| position.place <= self.newest) {
                let gap = Some(Gap::Unknown).filter(|_| told == Some(0));
                return From { place, told: told.unwrap_or(0).min(self.newest), gap, is_start: false };
            }
        }
        let place = match request.start {
            Start::Newest => self.newest,
            Start::Oldest => 0,
            Start::Last(count) => self.before_last(count, topics),
        };
        // Who was never here has missed nothing.
        From { place, told: self.newest, gap: request.after.as_ref().map(|_| Gap::Unknown), is_start: true }
    }

    /// The place before the last so many events.
    fn before_last(&self, count: usize, topics: &[TopicId]) -> u64 {
        let logs = self.logs(topics);
        let mut last: Vec<u64> =
            logs.flat_map(|log| log.after(0).rev().take(count).map(|logged| logged.place)).collect();
        last.sort_unstable();
        last.dedup();
        match last.len().checked_sub(count) {
            _ if count == 0 => self.newest,
            Some(first) => last[first] - 1,
            None => 0,
        }
    }

    /// Tells a stream where it begins and, if there is one, of a gap. Through which place that leaves it with nothing to be
    /// told of.
    fn tell_beginning(&mut self, from: &From, floor: u64, is_first: bool, told: &mut Vec<Notice>) -> u64 {
        let forgotten = Some(Gap::Forgotten).filter(|_| floor > from.place.max(from.told));
        // Of what is forgotten it is told as such, whatever it was to be told of.
        let gap = from.gap.filter(|gap| forgotten.is_none() || *gap != Gap::Unknown).or(forgotten);
        let through = Some(floor).filter(|floor| *floor > from.place);
        let here = Position { place: from.place, told: through };
        if is_first {
            let position = if gap.is_some() { Position { told: Some(0), ..here } } else { here };
            told.push(Notice::Position(position.block(&self.epoch)));
        }
        if let Some(gap) = gap {
            self.counts.gaps += 1;
            told.push(Notice::Gap(here.gap(&self.epoch, &self.settings.gap_event, gap)));
        }
        through.unwrap_or(from.place)
    }

    /// Tells a stream the events between two places. Something of the same time is forgotten, and the stream knows that: so
    /// that it is not told again, each is followed by a position that says so. Answers how many there are.
    fn tell_before<'a>(&self, events: impl Iterator<Item = &'a Logged>, through: u64, told: &mut Vec<Notice>) -> u64 {
        let mut count = 0;
        for logged in events.take_while(|logged| logged.place <= through) {
            told.push(Notice::Event(logged.event.clone()));
            let position = Position { place: logged.place, told: Some(through) };
            told.push(Notice::Position(position.block(&self.epoch)));
            count += 1;
        }
        count
    }

    /// Tells a stream of some of the events before its place. Not of all at once: they may be very many, and would wait for
    /// a client that takes nothing.
    pub fn replay(&mut self, cursor: &mut Cursor, told: &mut Vec<Notice>) {
        /// So many at a time.
        const MOST: usize = if cfg!(test) { 5 } else { 1024 };
        if let Some(place) = cursor.replayed.take() {
            let events = self.pending(&cursor.topics, place, false).take_while(|logged| logged.place <= cursor.place);
            let events: Vec<&Logged> = events.take(MOST).collect();
            cursor.replayed = events.get(MOST - 1).map(|last| last.place);
            let count = self.tell_before(events.into_iter(), cursor.place, told);
            self.counts.delivered += count;
        }
    }

    /// Tells it of all of them.
    pub(super) fn replay_all(&mut self, cursor: &mut Cursor, told: &mut Vec<Notice>) {
        while cursor.is_replaying() {
            self.replay(cursor, told);
        }
    }

    /// Hands out everything that a stream has not been sent yet, whatever it is worth to wait for.
    pub fn take_pending(&mut self, cursor: &mut Cursor, told: &mut Vec<Notice>) {
        if !cursor.is_following() {
            return;
        }
        self.replay_all(cursor, told);
        if self.is_overtaken(cursor) {
            told.extend(self.skip(cursor));
            self.replay_all(cursor, told);
        }
        self.conflate(cursor);
        let before = told.len();
        told.extend(self.pending_of(cursor).map(|logged| Notice::Event(logged.event.clone())));
        self.counts.delivered += (told.len() - before) as u64;
        cursor.place = self.newest;
    }

    /// Has a stream follow something no longer; without topics, anything.
    pub fn unfollow(
        &mut self,
        stream: StreamId,
        cursor: &mut Cursor,
        topics: Option<&[Topic]>,
        told: &mut Vec<Notice>,
    ) {
        if !cursor.is_following() {
            return;
        }
        self.take_pending(cursor, told);
        let all = cursor.topics.to_vec();
        let named = topics.map(|topics| topics.iter().filter_map(|topic| self.known(topic)).collect::<HashSet<_>>());
        let is_left = |followed: &TopicId| named.as_ref().map_or(true, |named| named.contains(followed));
        let (left, kept): (Vec<_>, Vec<_>) = all.into_iter().partition(is_left);
        for topic in left {
            let is_crowded = self.followers(topic).map_or(false, |followers| followers.remove(stream));
            if is_crowded {
                self.mark(topic); // as when one leaves
            }
            self.vanish(topic);
        }
        cursor.topics = kept.into();
        self.counts.streams -= u64::from(!cursor.is_following());
    }

    /// A stream is there no longer.
    pub fn leave(&mut self, cursor: Cursor) {
        self.counts.streams -= u64::from(cursor.is_following());
        for topic in &*cursor.topics {
            let is_crowded = self.followers(*topic).map_or(false, SubscriberList::leave);
            if is_crowded {
                self.mark(*topic); // to be walked, and so cleared, though nothing was published
            }
            self.vanish(*topic);
        }
    }

    /// The channels that are followed. One may be there twice.
    fn channels_of<'a>(&'a self, topics: &'a [TopicId]) -> impl Iterator<Item = usize> + 'a {
        topics.iter().flat_map(move |topic| {
            let (one, several) = match topic {
                TopicId::Channel(at) => (Some(*at as usize), None),
                TopicId::Pattern(at) => (None, Some(&self.patterns[*at as usize].channels)),
            };
            one.into_iter().chain(several.into_iter().flatten().copied())
        })
    }

    /// Their histories.
    fn logs<'a>(&'a self, topics: &'a [TopicId]) -> impl Iterator<Item = &'a Log> {
        self.channels_of(topics).map(move |at| &self.channels[at].log)
    }

    /// Through which place anything is forgotten of what is followed.
    fn forgotten(&self, topics: &[TopicId]) -> u64 {
        let forgotten = topics.iter().map(|topic| match topic {
            TopicId::Channel(at) => self.channels[*at as usize].log.forgotten(),
            TopicId::Pattern(at) => self.patterns[*at as usize].forgotten,
        });
        forgotten.max().unwrap_or(0)
    }

    /// What those channels had forgotten that are no more and that some patterns match, but not others.
    fn gone_of(&self, topics: &[TopicId], others: &[TopicId]) -> u64 {
        let matches = |topics: &[TopicId], name: &[u8]| {
            topics.iter().any(|topic| match topic {
                TopicId::Channel(_) => false,
                TopicId::Pattern(at) => self.patterns[*at as usize].glob.matches(name),
            })
        };
        self.gone.forgotten(|name| matches(topics, name) && !matches(others, name))
    }

    /// The same as [`forgotten`](Self::forgotten), of the newest events of all keys.
    fn lost(&self, topics: &[TopicId]) -> u64 {
        let lost = topics.iter().map(|topic| match topic {
            TopicId::Channel(at) => self.channels[*at as usize].log.lost(),
            TopicId::Pattern(at) => self.patterns[*at as usize].lost,
        });
        lost.max().unwrap_or(0)
    }

    /// The events after a place. Of a channel that has forgotten some of them, if that is wanted, only the newest of each
    /// key.
    fn pending<'a>(&'a self, topics: &'a [TopicId], place: u64, conflates: bool) -> Merge<'a> {
        let parts = self.logs(topics).filter_map(move |log| {
            if conflates && log.forgotten() > place {
                return Some(Part::Newest(Box::new(log.newest_after(place))));
            }
            let events = log.after(place);
            (events.len() > 0).then(|| Part::All(events))
        });
        parts.collect()
    }

    fn pending_of<'a>(&'a self, cursor: &'a Cursor) -> Merge<'a> {
        /// From so many histories on it is quicker to look at what was published than at each of them.
        const MANY: usize = 8;
        let Cursor { place, ref topics, is_conflated, .. } = *cursor;
        if place >= self.newest {
            return Merge::Nothing;
        }
        if !is_conflated && self.recent.covers(place) && self.logs(topics).nth(MANY).is_some() {
            return Merge::Picked(Picked { hub: self, topics, place });
        }
        self.pending(&cursor.topics, cursor.place, cursor.is_conflated)
    }

    /// Whether something is forgotten that a stream has not been sent.
    pub fn is_overtaken(&self, cursor: &Cursor) -> bool {
        if self.forgotten <= cursor.place {
            return false; // whatever it follows
        }
        let forgotten = match self.settings.on_slow {
            OnSlow::Newest => self.lost(&cursor.topics),
            OnSlow::Disconnect | OnSlow::Gap => self.forgotten(&cursor.topics),
        };
        forgotten > cursor.place
    }

    /// What becomes of a stream that is not sent all that was published: nothing, if that is not so. `Err`, if it is to end.
    ///
    /// # Errors
    ///
    /// That history has overtaken it, and that it is to end for that.
    pub fn catch_up(&mut self, cursor: &mut Cursor) -> Result<Vec<Notice>, Gap> {
        let mut told = Vec::new();
        if self.is_overtaken(cursor) {
            if self.settings.on_slow == OnSlow::Disconnect {
                self.counts.disconnected += 1;
                return Err(Gap::Slow);
            }
            told = self.skip(cursor);
        }
        self.conflate(cursor);
        Ok(told)
    }

    /// A stream ends because more waits for it alone than may.
    pub fn count_disconnected(&mut self) {
        self.counts.disconnected += 1;
    }

    /// Sees whether a stream is to be sent only the newest from where it is.
    fn conflate(&mut self, cursor: &mut Cursor) {
        if self.settings.on_slow == OnSlow::Newest && (cursor.is_conflated || self.forgotten > cursor.place) {
            let was = cursor.is_conflated;
            cursor.is_conflated = self.forgotten(&cursor.topics) > cursor.place;
            self.counts.conflated += u64::from(cursor.is_conflated && !was);
        }
    }

    /// Tells a stream that history has overtaken it, and puts it where it can go on.
    fn skip(&mut self, cursor: &mut Cursor) -> Vec<Notice> {
        self.counts.skipped += 1;
        let mut told = Vec::new();
        let floor = match self.settings.on_slow {
            OnSlow::Newest => self.lost(&cursor.topics),
            OnSlow::Disconnect | OnSlow::Gap => self.forgotten(&cursor.topics),
        };
        let from = From { place: cursor.place, told: 0, gap: Some(Gap::Slow), is_start: false };
        let after = self.tell_beginning(&from, floor, false, &mut told);
        if self.settings.on_slow == OnSlow::Newest {
            self.counts.delivered +=
                self.tell_before(self.pending(&cursor.topics, cursor.place, true), after, &mut told);
        } else {
            cursor.replayed = Some(cursor.place);
        }
        cursor.place = after;
        told
    }

    /// Puts what a stream is to be sent next into `blocks`.
    pub fn gather<'a>(&'a self, cursor: &'a Cursor, framing: Framing, blocks: &mut [IoSlice<'a>]) -> Gathered {
        let mut events = self.pending_of(cursor);
        let mut place = cursor.place;
        let mut count = 0;
        for block in blocks {
            match events.next() {
                Some(logged) => {
                    *block = IoSlice::new(logged.event.bytes(framing));
                    place = logged.place;
                    count += 1;
                }
                None => return Gathered { blocks: count, place: self.newest },
            }
        }
        Gathered { blocks: count, place }
    }

    /// All that was gathered was sent.
    pub fn all_sent(&mut self, cursor: &mut Cursor, gathered: &Gathered) {
        cursor.place = gathered.place;
        self.counts.delivered += gathered.blocks as u64;
    }

    /// So many bytes of it were.
    pub fn sent(&mut self, cursor: &mut Cursor, framing: Framing, bytes: usize) -> Sent {
        let mut sent = Sent { events: 0, bytes: 0, rest: None };
        let mut place = cursor.place;
        for logged in self.pending_of(cursor) {
            let block = logged.event.bytes(framing);
            if sent.bytes == bytes {
                break;
            }
            place = logged.place;
            sent.bytes += block.len();
            if sent.bytes > bytes {
                sent.rest = Some(logged.event.from(framing, block.len() - (sent.bytes - bytes)));
                break;
            }
            sent.events += 1;
        }
        cursor.place = place;
        self.counts.delivered += sent.events as u64 + u64::from(sent.rest.is_some());
        sent
    }

    /// Whether a stream has been sent everything. Then its position is the newest place, whatever it follows.
    pub fn is_up_to_date(&self, cursor: &Cursor) -> bool {
        !cursor.is_replaying() && self.pending_of(cursor).next().is_none() && !self.is_overtaken(cursor)
    }

    /// The position of a stream that is up to date, as a block.
    pub fn position(&self, cursor: &mut Cursor) -> Vec<u8> {
        cursor.place = self.newest;
        Position::at(self.newest).block(&self.epoch)
    }
}
