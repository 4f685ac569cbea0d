//! REST routes of one service: URI templates as a tree of segments.

use std::collections::HashMap;

use lambkin_model::schema::{Operation, Service};

use crate::uri;

/// The routes of one service with a REST protocol.
#[derive(Debug, Default)]
pub(crate) struct RestRoutes {
    root: Node,
}

#[derive(Debug, Default)]
struct Node {
    literals: HashMap<&'static str, Node>,
    label: Option<Box<Labelled>>,
    greedy: Vec<(&'static str, Box<Node>)>,
    ends: Vec<End>,
}

/// A child reached through a `{Name}` segment. Templates name the label at one place differently
/// (`{Arn}`, `{Resource}`), so the names stand with the routes that end below.
#[derive(Debug, Default)]
struct Labelled {
    node: Node,
}

/// A route that ends at a node.
#[derive(Debug)]
struct End {
    method: &'static str,
    /// `key` or `key=value` parts of the template's query.
    query: Vec<(&'static str, &'static str)>,
    labels: Vec<&'static str>,
    operation: &'static Operation,
}

/// Undecoded label values by label name.
pub(crate) type Labels<'a> = Vec<(&'static str, &'a str)>;

impl RestRoutes {
    /// Builds the routes of all operations of a service.
    pub(crate) fn new(service: &'static Service) -> Self {
        let mut routes = Self::default();
        for operation in service.operations {
            routes.add(operation);
        }
        routes
    }

    fn add(&mut self, operation: &'static Operation) {
        let (path, query) = operation.uri.split_once('?').unwrap_or((operation.uri, ""));
        let mut node = &mut self.root;
        let mut labels = Vec::new();
        for segment in segments(path) {
            let inner = segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}'));
            node = match inner {
                None => node.literals.entry(segment).or_default(),
                Some(name) => match name.strip_suffix('+') {
                    None => {
                        labels.push(name);
                        &mut node.label.get_or_insert_default().node
                    }
                    Some(name) => {
                        labels.push(name);
                        let at = match node.greedy.iter().position(|(known, _)| *known == name) {
                            Some(at) => at,
                            None => {
                                node.greedy.push((name, Box::default()));
                                node.greedy.len() - 1
                            }
                        };
                        match node.greedy.get_mut(at) {
                            Some((_, child)) => child,
                            None => return,
                        }
                    }
                },
            };
        }
        let query: Vec<_> = uri::raw_pairs(query).collect();
        node.ends.push(End { method: operation.method, query, labels, operation });
        // The most specific query first.
        node.ends.sort_by_key(|end| std::cmp::Reverse(end.query.len()));
    }

    /// Finds the operation of a request. A slash too many or too few at the end of the path is forgiven
    /// where no route has the path as it is.
    pub(crate) fn find<'a>(
        &self,
        method: &str,
        path: &'a str,
        query: Option<&str>,
    ) -> Option<(&'static Operation, Labels<'a>)> {
        let mut wanted = Wanted { method, query: query.unwrap_or_default(), values: Vec::new() };
        let exact: Vec<&str> = segments(path).collect();
        if let Some(end) = self.root.find(&exact, path, &mut wanted) {
            return Some((end.operation, end.labels.iter().copied().zip(wanted.values).collect()));
        }
        let mut other = exact;
        if other.last().is_some_and(|last| last.is_empty()) {
            other.pop();
        } else {
            other.push("");
        }
        wanted.values.clear();
        let end = self.root.find(&other, path, &mut wanted)?;
        Some((end.operation, end.labels.iter().copied().zip(wanted.values).collect()))
    }
}

struct Wanted<'q, 'a> {
    method: &'q str,
    query: &'q str,
    values: Vec<&'a str>,
}

impl Node {
    /// Depth-first search, literals before labels before greedy labels.
    fn find<'s, 'a>(
        &'s self,
        rest: &[&'a str],
        path: &'a str,
        wanted: &mut Wanted<'_, 'a>,
    ) -> Option<&'s End> {
        let Some((first, rest)) = rest.split_first() else {
            return self.ends.iter().find(|end| end.method == wanted.method && end.fits(wanted.query));
        };
        let literal = match self.literals.get(*first) {
            None if first.contains('%') => self.literals.get(uri::decode_segment(first).as_ref()),
            found => found,
        };
        if let Some(child) = literal
            && let Some(end) = child.find(rest, path, wanted)
        {
            return Some(end);
        }
        if first.is_empty() {
            return None;
        }
        let depth = wanted.values.len();
        if let Some(child) = &self.label {
            wanted.values.push(first);
            if let Some(end) = child.node.find(rest, path, wanted) {
                return Some(end);
            }
            wanted.values.truncate(depth);
        }
        for (_, child) in &self.greedy {
            // What has more of the template to match first, then the longest.
            for taken in (0..rest.len()).rev().chain([rest.len()]) {
                let last = if taken == 0 { Some(first) } else { rest.get(taken - 1) };
                let Some(value) = last.and_then(|last| span(path, first, last)) else { continue };
                wanted.values.push(value);
                if let Some(end) = child.find(rest.get(taken..).unwrap_or_default(), path, wanted) {
                    return Some(end);
                }
                wanted.values.truncate(depth);
            }
        }
        None
    }
}

impl End {
    fn fits(&self, query: &str) -> bool {
        self.query.iter().all(|(key, value)| {
            uri::pairs(query).any(|(k, v)| k == *key && (value.is_empty() || v == *value))
        })
    }
}

/// Segments of a path that starts with `/`; a trailing slash gives an empty last segment.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/').unwrap_or(path).split('/')
}

/// The part of `path` from the start of `first` to the end of `last`, both parts of it.
fn span<'a>(path: &'a str, first: &'a str, last: &'a str) -> Option<&'a str> {
    let base = path.as_ptr() as usize;
    let from = (first.as_ptr() as usize).checked_sub(base)?;
    let to = (last.as_ptr() as usize).checked_sub(base)? + last.len();
    path.get(from..to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::tests::rest_service;

    fn find<'a>(method: &str, target: &'a str) -> Option<(&'static str, Labels<'a>)> {
        let routes = RestRoutes::new(rest_service());
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        routes.find(method, path, query).map(|(operation, labels)| (operation.name, labels))
    }

    #[test]
    fn literals_win_over_labels() {
        assert_eq!(find("GET", "/things/special"), Some(("GetSpecial", vec![])));
        assert_eq!(find("GET", "/things/other"), Some(("GetThing", vec![("Name", "other")])));
        assert_eq!(find("PUT", "/things/special"), Some(("PutThing", vec![("Name", "special")])));
    }

    #[test]
    fn decides_by_method_and_query() {
        assert_eq!(find("GET", "/layers?find=Version&Arn=x"), Some(("GetLayerByArn", vec![])));
        assert_eq!(find("GET", "/layers?Arn=x"), Some(("ListLayers", vec![])));
        assert_eq!(find("DELETE", "/layers"), None);
    }

    #[test]
    fn forgives_slashes_at_the_end_only() {
        assert_eq!(find("GET", "/things/"), Some(("ListThings", vec![])));
        assert_eq!(find("GET", "/things"), Some(("ListThings", vec![])));
        assert_eq!(find("GET", "/things/a/"), Some(("GetThing", vec![("Name", "a")])));
        assert_eq!(find("GET", "//things/a"), None);
        assert_eq!(find("GET", "/things//x"), None);
    }

    #[test]
    fn labels_are_cut_before_decoding() {
        let arn = "arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Af%2Fg";
        let target = format!("/things/{arn}");
        assert_eq!(find("GET", &target), Some(("GetThing", vec![("Name", arn)])));
        let arn = "arn:aws:lambda:us-east-1:000000000000:function:f";
        let target = format!("/things/{arn}/runs");
        assert_eq!(find("POST", &target), Some(("RunThing", vec![("Id", arn)])));
        assert_eq!(find("GET", "/things/%73pecial"), Some(("GetSpecial", vec![])));
    }

    #[test]
    fn greedy_labels_take_slashes() {
        assert_eq!(find("GET", "/files/a/b%2Fc/d"), Some(("GetFile", vec![("Path", "a/b%2Fc/d")])));
        assert_eq!(find("GET", "/files/a/b/meta"), Some(("GetMeta", vec![("Path", "a/b")])));
        assert_eq!(find("GET", "/files/meta"), Some(("GetFile", vec![("Path", "meta")])));
        assert_eq!(find("GET", "/files/"), None);
    }
}
