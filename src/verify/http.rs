//! One HTTP exchange as text: a request is HTTP/1.0, so that the answer comes whole and ends with the connection.

use std::fmt::Write as _;

use crate::task::Request;

/// What an HTTP server answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Response {
    pub(super) status: i32,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// What is sent to a server on this port.
pub(super) fn request(request: &Request, port: u16) -> Vec<u8> {
    let mut text = format!("{} {} HTTP/1.0\r\n", request.method, request.path);
    let given = |name: &str| request.headers.keys().any(|given| given.eq_ignore_ascii_case(name));
    let length = request.body.len().to_string();
    let usual = [
        ("Host", format!("127.0.0.1:{port}")),
        ("Connection", "close".to_owned()),
        ("Content-Length", length),
    ];
    for (name, value) in usual.iter().filter(|(name, _)| !given(name)) {
        if *name != "Content-Length" || !request.body.is_empty() {
            let _ = write!(text, "{name}: {value}\r\n");
        }
    }
    for (name, value) in &request.headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    text.push_str("\r\n");
    text.push_str(&request.body);
    text.into_bytes()
}

/// The answer in what a server said to this method; `None` when that is no HTTP, or cut short.
pub(super) fn response(method: &str, mut said: &[u8]) -> Option<Response> {
    loop {
        let end = said.windows(4).position(|window| window == b"\r\n\r\n")?;
        let (head, body) = (std::str::from_utf8(&said[..end]).ok()?, &said[end + 4..]);
        let mut lines = head.split("\r\n");
        let mut words = lines.next()?.split(' ');
        words.next().filter(|word| word.starts_with("HTTP/"))?;
        let status: i32 = words.next()?.parse().ok()?;
        if (100..200).contains(&status) {
            // Only a first word: the answer follows.
            said = body;
            continue;
        }
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        // These promise a body that does not come.
        let bare = method == "HEAD" || status == 204 || status == 304;
        let body = if bare { Vec::new() } else { whole(&headers, body)? };
        return Some(Response { status, headers, body });
    }
}

/// The body that the headers promise.
fn whole(headers: &[(String, String)], body: &[u8]) -> Option<Vec<u8>> {
    let value = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    if value("transfer-encoding").is_some_and(|how| how.eq_ignore_ascii_case("chunked")) {
        return dechunked(body);
    }
    match value("content-length").and_then(|length| length.parse::<usize>().ok()) {
        Some(length) => Some(body.get(..length)?.to_vec()),
        None => Some(body.to_vec()),
    }
}

/// A body that came in chunks, which servers send although nobody asked them to.
fn dechunked(mut body: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let end = body.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&body[..end]).ok()?.split(';').next()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        if size == 0 {
            return Some(whole);
        }
        let start = end + 2;
        whole.extend_from_slice(body.get(start..start.checked_add(size)?)?);
        body = body.get(start + size + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_what_servers_need_and_what_the_case_says() {
        let check = |asked: Request, expected: &str| {
            assert_eq!(String::from_utf8(request(&asked, 8080)).unwrap(), expected);
        };
        check(
            Request { path: "/a?b=c".to_owned(), ..Request::default() },
            "GET /a?b=c HTTP/1.0\r\nHost: 127.0.0.1:8080\r\nConnection: close\r\n\r\n",
        );
        check(
            Request {
                method: "POST".to_owned(),
                path: "/".to_owned(),
                headers: [("host".to_owned(), "shop".to_owned())].into(),
                body: "x=1".to_owned(),
            },
            "POST / HTTP/1.0\r\nConnection: close\r\nContent-Length: 3\r\nhost: shop\r\n\r\nx=1",
        );
    }

    #[test]
    fn an_answer_is_read_whole_or_not_at_all() {
        let check = |said: &str, expected: Option<(i32, &str)>| {
            let read = response("GET", said.as_bytes());
            let read = read.map(|read| (read.status, String::from_utf8(read.body).unwrap()));
            assert_eq!(read, expected.map(|(status, body)| (status, body.to_owned())), "{said}");
        };
        check("HTTP/1.0 200 OK\r\nA: b\r\n\r\nhello", Some((200, "hello")));
        check("HTTP/1.1 204\r\n\r\n", Some((204, "")));
        check("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\n\r\nx", Some((201, "x")));
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhello", Some((200, "he")));
        check("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", None);
        check("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", None);
        check("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", Some((304, "")));
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x\r\nlo\r\n0\r\n\r\n",
            Some((200, "hello")),
        );
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nhel", None);
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhe", None);
        check("hello", None);
        check("HTTP/1.0 two hundred\r\n\r\n", None);
        let head = response("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n");
        assert_eq!(head.map(|head| head.status), Some(200));
    }
}
