// SPDX-License-Identifier: Apache-2.0
//! The container side's requests as JSON for people: words where the protocol has bits and bytes.

use outrigger_protocol::ContainerRequest;
use outrigger_protocol::mount::{AttrChange, Mount};
use outrigger_protocol::node::FileMode;
use outrigger_protocol::process::{Capabilities, Process, Strings};
use serde::ser::{Error, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json, to_value};

use super::{capabilities, table};

/// For `serialize_with`.
pub(super) fn serialize<S: Serializer>(
    requests: &[ContainerRequest],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut sequence = serializer.serialize_seq(Some(requests.len()))?;
    for request in requests {
        let operands = match request {
            ContainerRequest::Strings(s) => Ok(strings(s)),
            ContainerRequest::Process(p) => process(p),
            ContainerRequest::Mount(m) => mount(m),
            ContainerRequest::Mknod(m) => node(m, m.mode),
            ContainerRequest::Mkdir(m) => node(m, m.mode),
            ContainerRequest::Touch(m) => node(m, m.mode),
            _ => {
                sequence.serialize_element(request)?;
                continue;
            }
        };
        let operands = operands.map_err(S::Error::custom)?;
        sequence.serialize_element(&json!({ request.kind().name(): operands }))?;
    }
    sequence.end()
}

/// A piece that does not end with a string's end is continued by the next one.
fn strings(strings: &Strings) -> Value {
    let piece = strings.piece.strip_suffix(&[0]).unwrap_or(&strings.piece);
    let texts: Vec<_> = piece.split(|b| *b == 0).map(String::from_utf8_lossy).collect();
    json!({ "list": strings.list, "strings": texts })
}

fn process(process: &Process) -> serde_json::Result<Value> {
    let mut shown = to_value(process)?;
    shown["umask"] = json!(format!("{:03o}", process.umask));
    if let Some(Capabilities { bounding, effective, inheritable, permitted, ambient }) =
        process.capabilities
    {
        let mut sets = Map::new();
        for (name, set) in [
            ("bounding", bounding),
            ("effective", effective),
            ("inheritable", inheritable),
            ("permitted", permitted),
            ("ambient", ambient),
        ] {
            sets.insert(name.to_owned(), json!(capabilities::names(set)));
        }
        shown["capabilities"] = Value::Object(sets);
    }
    Ok(shown)
}

fn node<T: Serialize>(request: &T, mode: FileMode) -> serde_json::Result<Value> {
    let mut shown = to_value(request)?;
    shown["mode"] = json!(format!("{:04o}", mode.bits()));
    Ok(shown)
}

fn mount(mount: &Mount) -> serde_json::Result<Value> {
    let (kind, mut shown, attrs, recursive) = match mount {
        Mount::New(m) => ("New", to_value(m)?, m.attrs, None),
        Mount::Bind(m) => ("Bind", to_value(m)?, m.attrs, Some(m.recursive_attrs)),
        Mount::Remount(m) => ("Remount", to_value(m)?, m.attrs, Some(m.recursive_attrs)),
    };
    shown["attrs"] = words(&attrs);
    if let Some(recursive) = recursive {
        shown["recursive_attrs"] = words(&recursive);
    }
    Ok(json!({ kind: shown }))
}

/// As the config's options have them.
fn words(change: &AttrChange) -> Value {
    json!(table::change(change))
}
