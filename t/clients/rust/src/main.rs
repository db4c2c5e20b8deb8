//! reqwest-eventsource and eventsource-client, each event as a line of JSON: `clients CLIENT PHASE=URL...`.

use eventsource_client::{Client, ClientBuilder, ReconnectOptions, SSE};
use futures::{future::join_all, StreamExt};
use launchdarkly_sdk_transport::HyperTransport;
use reqwest_eventsource::{Event, EventSource};
use serde_json::{json, Value};
use std::time::Duration;

fn say(phase: &str, mut line: Value) {
    line["phase"] = json!(phase);
    println!("{line}");
}

async fn read_with_reqwest_eventsource(phase: &str, url: &str) {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let mut source = EventSource::new(client.get(url)).expect("a request that can be cloned");
    while let Some(next) = source.next().await {
        match next {
            Ok(Event::Open) => say(phase, json!({"state": "open"})),
            Ok(Event::Message(event)) => {
                say(phase, json!({"type": event.event, "data": event.data, "id": event.id}));
            }
            Err(error) => say(phase, json!({"state": "error", "error": error.to_string()})),
        }
    }
    say(phase, json!({"state": "end"}));
}

async fn read_with_eventsource_client(phase: &str, url: &str) {
    let reconnect = ReconnectOptions::reconnect(true).retry_initial(true).delay(Duration::from_millis(50)).build();
    let transport = HyperTransport::builder().build_http().expect("a transport");
    let client = ClientBuilder::for_url(url).expect("an address").reconnect(reconnect).build_with_transport(transport);
    let mut stream = client.stream();
    while let Some(next) = stream.next().await {
        match next {
            Ok(SSE::Event(event)) => {
                say(phase, json!({"type": event.event_type, "data": event.data, "id": event.id.unwrap_or_default()}));
            }
            Ok(SSE::Comment(_)) => {}
            Ok(SSE::Connected(_)) => say(phase, json!({"state": "open"})),
            Err(error) => say(phase, json!({"state": "error", "error": error.to_string()})),
        }
    }
    say(phase, json!({"state": "end"}));
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let client = arguments.next().expect("the name of a client");
    let streams: Vec<_> = arguments.collect();
    join_all(streams.iter().map(|stream| async {
        let (phase, url) = stream.split_once('=').expect("PHASE=URL");
        match client.as_str() {
            "reqwest-eventsource" => read_with_reqwest_eventsource(phase, url).await,
            _ => read_with_eventsource_client(phase, url).await,
        }
    }))
    .await;
}
