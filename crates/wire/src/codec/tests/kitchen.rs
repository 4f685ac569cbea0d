//! A service with shapes of every kind.

use lambkin_model::schema::{
    Bounds, ErrorInfo, Kind, Location, Member, Operation, Protocol, Service, Shape, ShapeId, Structure,
    TimestampFormat,
};

use crate::route::tests::operation;

const FREE: Bounds = Bounds { min: None, max: None };

const fn shape(name: &'static str, kind: Kind) -> Shape {
    Shape { name, kind }
}

const fn structure(name: &'static str, members: &'static [Member], payload: &'static str) -> Shape {
    let structure = Structure { members, payload, error: None, event_stream: false, union: false };
    shape(name, Kind::Structure(structure))
}

const fn member(name: &'static str, wire_name: &'static str, shape: ShapeId, location: Location) -> Member {
    Member {
        name,
        shape,
        location,
        wire_name,
        query_name: "",
        required: false,
        sensitive: false,
        timestamp_format: None,
    }
}

const fn list(name: &'static str, location_name: &'static str, flattened: bool) -> Shape {
    shape(name, Kind::List { member: STRING, location_name, flattened, len: FREE })
}

const fn error(name: &'static str, status: u16, code: &'static str, members: &'static [Member]) -> Shape {
    let error = Some(ErrorInfo { status, code, sender_fault: status < 500 });
    let structure = Structure { members, payload: "", error, event_stream: false, union: false };
    shape(name, Kind::Structure(structure))
}

const STRING: ShapeId = 0;
const INTEGER: ShapeId = 1;
const TIME: ShapeId = 2;
const BLOB: ShapeId = 3;
const NAMES: ShapeId = 4;
const COUNTS: ShapeId = 5;
const NESTED: ShapeId = 6;
const FLAT: ShapeId = 7;
const FLAT_MAP: ShapeId = 8;
const BOUND: ShapeId = 9;
const ALL: ShapeId = 10;
const BOOLEAN: ShapeId = 11;
const LONG: ShapeId = 12;
const DOUBLE: ShapeId = 13;
const RAW: ShapeId = 14;
const WRAPPED: ShapeId = 15;
const TEXT: ShapeId = 16;

static SHAPES: &[Shape] = &[
    shape("String", Kind::String { len: FREE, pattern: None, values: &[] }),
    shape("Integer", Kind::Integer(FREE)),
    shape("Time", Kind::Timestamp(TimestampFormat::Default)),
    shape("Blob", Kind::Blob { len: FREE, streaming: false }),
    list("Names", "", false),
    shape(
        "Counts",
        Kind::Map { key: STRING, value: INTEGER, key_name: "", value_name: "", flattened: false, len: FREE },
    ),
    structure(
        "Nested",
        &[
            member("Leaf", "leaf", STRING, Location::Body),
            Member {
                timestamp_format: Some(TimestampFormat::Iso8601),
                ..member("When", "when", TIME, Location::Body)
            },
            member("Inner", "inner", NESTED, Location::Body),
        ],
        "",
    ),
    list("Flat", "item", true),
    shape(
        "FlatMap",
        Kind::Map { key: STRING, value: STRING, key_name: "K", value_name: "V", flattened: true, len: FREE },
    ),
    structure(
        "Bound",
        &[
            member("Id", "Id", STRING, Location::Uri),
            member("Tags", "tag", NAMES, Location::Query),
            member("Max", "max", INTEGER, Location::Query),
            member("Dry", "dry", BOOLEAN, Location::Query),
            member("Size", "X-Size", LONG, Location::Header),
            member("Since", "X-Since", TIME, Location::Header),
            member("Kinds", "X-Kinds", NAMES, Location::Header),
            member("Meta", "X-Meta-", FLAT_MAP, Location::Headers),
            member("Code", "Code", INTEGER, Location::StatusCode),
            member("Note", "note", STRING, Location::Body),
            member("Nested", "nested", NESTED, Location::Body),
        ],
        "",
    ),
    structure(
        "All",
        &[
            member("Note", "note", STRING, Location::Body),
            member("Count", "count", INTEGER, Location::Body),
            member("Big", "big", LONG, Location::Body),
            member("Share", "share", DOUBLE, Location::Body),
            member("On", "on", BOOLEAN, Location::Body),
            member("When", "when", TIME, Location::Body),
            member("Data", "data", BLOB, Location::Body),
            member("Names", "names", NAMES, Location::Body),
            member("Counts", "counts", COUNTS, Location::Body),
            member("Nested", "nested", NESTED, Location::Body),
            member("Flat", "flat", FLAT, Location::Body),
            member("FlatMap", "flatMap", FLAT_MAP, Location::Body),
        ],
        "",
    ),
    shape("Boolean", Kind::Boolean),
    shape("Long", Kind::Long(FREE)),
    shape("Double", Kind::Double(FREE)),
    structure(
        "Raw",
        &[member("Kind", "X-Kind", STRING, Location::Header), member("Data", "Data", BLOB, Location::Body)],
        "Data",
    ),
    structure("Wrapped", &[member("Nested", "Nested", NESTED, Location::Body)], "Nested"),
    structure("Text", &[member("Text", "Text", STRING, Location::Body)], "Text"),
    error(
        "GoneException",
        410,
        "Things.Gone",
        &[
            member("Type", "Type", STRING, Location::Body),
            member("Message", "Message", STRING, Location::Body),
            member("Wait", "Retry-After", STRING, Location::Header),
            member("Names", "names", NAMES, Location::Body),
        ],
    ),
    error("MuteException", 500, "", &[member("Names", "names", NAMES, Location::Body)]),
];

const fn with_io(base: Operation, io: ShapeId) -> Operation {
    Operation { input: Some(io), output: Some(io), ..base }
}

static OPERATIONS: &[Operation] = &[
    Operation { result_wrapper: "AllResult", ..with_io(operation("All", "POST", "/"), ALL) },
    with_io(operation("Bound", "POST", "/bound/{Id}"), BOUND),
    operation("None", "POST", "/none"),
    with_io(operation("Raw", "POST", "/raw"), RAW),
    with_io(operation("Text", "POST", "/text"), TEXT),
    with_io(operation("Wrapped", "POST", "/wrapped"), WRAPPED),
];

pub(super) static SERVICE: Service = Service {
    name: "kitchen",
    signing_name: "kitchen",
    api_version: "2026-01-01",
    protocols: &[Protocol::RestJson],
    target_prefix: "Kitchen",
    xml_namespace: "https://kitchen/",
    query_compatible: true,
    shapes: SHAPES,
    operations: OPERATIONS,
};
