//! Reads the head of a request: calls by name, as those of a hub (`calls.rs`). The texts are the bytes of the request; a
//! missing one is undefined.

use super::guard::{refuse, Report};
use super::text::{answer, Answer, RawText, Texts};
use crate::compression::ContentCoding;
use crate::request::{self, BoundRequest, Preference};
use std::iter;

/// Makes a call by name. The first text is the name.
#[no_mangle]
unsafe extern "C" fn esx_request_call(given: *const RawText, len: usize, report: *mut Report) -> *mut Answer {
    // SAFETY: the report is on the stack of C; the texts are in scalars' buffers, which live until the XSUB returns.
    let (mut given, report) = unsafe { (Texts::new(given, len), &mut *report) };
    answer(report, || Ok(call(given.bytes(), given)))
}

fn call(name: &[u8], mut given: Texts<'_>) -> Answer {
    match name {
        b"bound" => bound(given),
        b"coding" => coding(given),
        b"cookie" => Answer::of_bytes([request::ticket_cookie(&given.octets(), &given.octets())]),
        b"id" => {
            let (header, query) = (given.octets_if(), given.octets());
            request::last_event_id(header.as_deref(), &query).map(Answer::of).unwrap_or_default()
        }
        b"preference" => Preference::of(&given.octets()).map(|given| preference(&given)).unwrap_or_default(),
        name => refuse("call", String::from_utf8_lossy(name)),
    }
}

/// A digest of a request, and the sealed ticket that it brings, if any. The texts are the number of the names of cookies that
/// count, undefined if all do, and these names; the hub's name, the method, `Host`, `Origin`, `Authorization`, the path, the
/// query, `Cookie`, and the other headers that count.
fn bound(mut given: Texts<'_>) -> Answer {
    let names = given.number_if().map(|len: usize| (0..len).map_while(|_| given.octets_if()).collect::<Vec<_>>());
    let names = names.as_ref().map(|names| names.iter().map(|name| &**name).collect::<Vec<_>>());
    let texts = given.all_octets();
    let texts: Vec<_> = texts.iter().map(Option::as_deref).collect();
    match texts[..] {
        [hub, method, host, origin, authorization, path, query, cookies, ref headers @ ..] => {
            let (hub, path) = (hub.unwrap_or_default(), path.unwrap_or_default());
            let (method, query, cookie_names) =
                (method.unwrap_or_default(), query.unwrap_or_default(), names.as_deref());
            let request =
                BoundRequest { hub, method, host, origin, authorization, path, query, cookies, cookie_names, headers };
            let ticket = cookies.and_then(|cookies| request::ticket_of(cookies, hub, path));
            Answer::of_bytes(iter::once(request.digest().to_vec()).chain(ticket))
        }
        _ => refuse("number of texts", texts.len()),
    }
}

/// The name and the number of the best coding that a client accepts, of all or up to the named one.
fn coding(mut given: Texts<'_>) -> Answer {
    let (field, most) = (given.octets_if(), given.next());
    let all = ContentCoding::ALL;
    let last = most.and_then(|most| all.iter().position(|coding| coding.name().as_bytes() == most));
    let coding = request::best_coding(field.as_deref(), last.map_or(all, |last| &all[..=last]));
    let mut answer = Answer::of(coding.name());
    answer.push((coding as usize).to_string());
    answer
}

/// The value of `Preference-Applied`, and of a poll its wait and the number of its reason.
fn preference(given: &Preference) -> Answer {
    let mut answer = Answer::of(given.applied());
    if let Some(poll) = given.poll() {
        answer.push(poll.wait.as_secs().to_string());
        answer.push((poll.reason as usize).to_string());
    }
    answer
}
