//! Constant constructors of [`schema`](crate::schema) values, so that a generated shape fits on one line.

use crate::schema::{Bounds, ErrorInfo, Kind, Location, Member, Shape, ShapeId, Structure, TimestampFormat};

const FREE: Bounds = Bounds { min: None, max: None };

const fn shape(name: &'static str, kind: Kind) -> Shape {
    Shape { name, kind }
}

pub(crate) const fn structure(name: &'static str, members: &'static [Member]) -> Shape {
    let structure = Structure { members, payload: "", error: None, event_stream: false, union: false };
    shape(name, Kind::Structure(structure))
}

pub(crate) const fn list(name: &'static str, member: ShapeId) -> Shape {
    shape(name, Kind::List { member, location_name: "", flattened: false, len: FREE })
}

pub(crate) const fn map(name: &'static str, key: ShapeId, value: ShapeId) -> Shape {
    shape(name, Kind::Map { key, value, key_name: "", value_name: "", flattened: false, len: FREE })
}

pub(crate) const fn string(name: &'static str) -> Shape {
    shape(name, Kind::String { len: FREE, pattern: None, values: &[] })
}

pub(crate) const fn integer(name: &'static str) -> Shape {
    shape(name, Kind::Integer(FREE))
}

pub(crate) const fn long(name: &'static str) -> Shape {
    shape(name, Kind::Long(FREE))
}

pub(crate) const fn float(name: &'static str) -> Shape {
    shape(name, Kind::Float(FREE))
}

pub(crate) const fn double(name: &'static str) -> Shape {
    shape(name, Kind::Double(FREE))
}

pub(crate) const fn boolean(name: &'static str) -> Shape {
    shape(name, Kind::Boolean)
}

pub(crate) const fn blob(name: &'static str) -> Shape {
    shape(name, Kind::Blob { len: FREE, streaming: false })
}

pub(crate) const fn timestamp(name: &'static str) -> Shape {
    shape(name, Kind::Timestamp(TimestampFormat::Default))
}

pub(crate) const fn document(name: &'static str) -> Shape {
    shape(name, Kind::Document)
}

pub(crate) const fn member(name: &'static str, shape: ShapeId) -> Member {
    Member {
        name,
        shape,
        location: Location::Body,
        wire_name: name,
        query_name: "",
        required: false,
        sensitive: false,
        timestamp_format: None,
    }
}

// Setters for what a kind does not have leave the shape as it is; the generator never asks for that.
impl Shape {
    const fn bounds(&mut self) -> Option<&mut Bounds> {
        match &mut self.kind {
            Kind::List { len, .. }
            | Kind::Map { len, .. }
            | Kind::String { len, .. }
            | Kind::Blob { len, .. }
            | Kind::Integer(len)
            | Kind::Long(len)
            | Kind::Float(len)
            | Kind::Double(len) => Some(len),
            Kind::Structure(_) | Kind::Boolean | Kind::Timestamp(_) | Kind::Document => None,
        }
    }

    pub(crate) const fn min(mut self, min: i64) -> Self {
        if let Some(bounds) = self.bounds() {
            bounds.min = Some(min);
        }
        self
    }

    pub(crate) const fn max(mut self, max: i64) -> Self {
        if let Some(bounds) = self.bounds() {
            bounds.max = Some(max);
        }
        self
    }

    pub(crate) const fn pattern(mut self, regex: &'static str) -> Self {
        if let Kind::String { pattern, .. } = &mut self.kind {
            *pattern = Some(regex);
        }
        self
    }

    pub(crate) const fn values(mut self, allowed: &'static [&'static str]) -> Self {
        if let Kind::String { values, .. } = &mut self.kind {
            *values = allowed;
        }
        self
    }

    pub(crate) const fn payload(mut self, member: &'static str) -> Self {
        if let Kind::Structure(structure) = &mut self.kind {
            structure.payload = member;
        }
        self
    }

    pub(crate) const fn error(mut self, status: u16, code: &'static str, sender_fault: bool) -> Self {
        if let Kind::Structure(structure) = &mut self.kind {
            structure.error = Some(ErrorInfo { status, code, sender_fault });
        }
        self
    }

    pub(crate) const fn event_stream(mut self) -> Self {
        if let Kind::Structure(structure) = &mut self.kind {
            structure.event_stream = true;
        }
        self
    }

    pub(crate) const fn union(mut self) -> Self {
        if let Kind::Structure(structure) = &mut self.kind {
            structure.union = true;
        }
        self
    }

    pub(crate) const fn streaming(mut self) -> Self {
        if let Kind::Blob { streaming, .. } = &mut self.kind {
            *streaming = true;
        }
        self
    }

    pub(crate) const fn flat(mut self) -> Self {
        if let Kind::List { flattened, .. } | Kind::Map { flattened, .. } = &mut self.kind {
            *flattened = true;
        }
        self
    }

    /// Wire name of a list's elements.
    pub(crate) const fn element(mut self, name: &'static str) -> Self {
        if let Kind::List { location_name, .. } = &mut self.kind {
            *location_name = name;
        }
        self
    }

    /// Wire names of a map's keys and values.
    pub(crate) const fn entry(mut self, key: &'static str, value: &'static str) -> Self {
        if let Kind::Map { key_name, value_name, .. } = &mut self.kind {
            *key_name = key;
            *value_name = value;
        }
        self
    }

    pub(crate) const fn format(mut self, format: TimestampFormat) -> Self {
        if let Kind::Timestamp(own) = &mut self.kind {
            *own = format;
        }
        self
    }
}

impl Member {
    pub(crate) const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    pub(crate) const fn sensitive(mut self) -> Self {
        self.sensitive = true;
        self
    }

    pub(crate) const fn at(mut self, location: Location) -> Self {
        self.location = location;
        self
    }

    pub(crate) const fn named(mut self, wire_name: &'static str) -> Self {
        self.wire_name = wire_name;
        self
    }

    pub(crate) const fn query_name(mut self, query_name: &'static str) -> Self {
        self.query_name = query_name;
        self
    }

    pub(crate) const fn format(mut self, format: TimestampFormat) -> Self {
        self.timestamp_format = Some(format);
        self
    }
}
