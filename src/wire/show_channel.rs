//! The form in which events include the name of their channel. Their publishers give it to them, before the hub checks them.

use super::request::FieldList;
use crate::event::{json_string, EventName, Field, Text};
use crate::hub::{Publication, Retain};
use crate::Failure;

named! {
    /// The form in which events include the name of their channel.
    ShowChannel {
        /// In their data, which is JSON.
        Data = "data",
        /// As the type of those that have none.
        Event = "event",
    }
}

impl Publication<'_, FieldList> {
    /// Returns the event in the form in which it is published. One that forgets a key has that as its data, unless it has
    /// other data, or shows the key. `is_json` says that its data is JSON. Fails if the channel's name cannot be a type.
    pub fn shown(&self, way: Option<ShowChannel>, is_json: bool) -> Result<FieldList, Failure> {
        let [channel, key] = [self.channel, self.key].map(String::from_utf8_lossy);
        let (mut data, mut others): (Vec<_>, Vec<_>) =
            self.fields.fields().iter().partition(|field| matches!(field, Field::Data(_)));
        let forgets = self.retain == Retain::Forget;
        if way == Some(ShowChannel::Event) && !others.iter().any(|field| matches!(field, Field::Event(_))) {
            let name = EventName::new(Text::from(&*channel)).map_err(|error| {
                Failure::invalid("channel", format!("a channel's name {}: it is the type of its events", error.why))
            })?;
            others.push(Field::Event(name));
        }
        let object;
        if way == Some(ShowChannel::Data) && (forgets || !data.is_empty()) {
            object = self.object(&channel, &key, &data, is_json);
            data = vec![Field::Data(Text::from(&*object))];
        } else if forgets && data.is_empty() {
            data.push(Field::Data(Text::from(&*key)));
        }
        Ok(FieldList::of(others.into_iter().chain(data)))
    }

    /// Returns an object with the channel and the data, and of an event that changes the state the key.
    fn object(&self, channel: &str, key: &str, fields: &[Field<'_>], is_json: bool) -> String {
        let lines = fields.iter().filter_map(|field| match field {
            Field::Data(text) => std::str::from_utf8(text.bytes()).ok(),
            _ => None,
        });
        let text = lines.collect::<Vec<_>>().join("\n");
        let data = if is_json { text } else { json_string(&text) };
        let members = [
            ("channel", Some(json_string(channel))),
            ("data", Some(data).filter(|_| !fields.is_empty())),
            ("forget", (self.retain == Retain::Forget).then(|| "true".to_owned())),
            ("key", self.retain.changes_state().then(|| json_string(key))),
        ];
        let members = members.into_iter().filter_map(|(name, value)| Some(format!("\"{name}\":{}", value?)));
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    }
}
