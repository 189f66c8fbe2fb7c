//! As much of XML as SCXML documents use: elements, attributes, comments, processing instructions and CDATA; no entities of its own,
//! so that nothing can multiply.

/// An element; prefixes of names are dropped. Text between elements is kept only where it is not blank.
#[derive(Debug)]
pub(super) struct Element {
    pub(super) name: String,
    pub(super) attributes: Vec<(String, String)>,
    pub(super) children: Vec<Element>,
    pub(super) has_text: bool,
    /// Where it begins, in bytes.
    pub(super) offset: usize,
}

impl Element {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Why a text is not XML, or cannot be read here.
#[derive(Debug)]
pub(super) struct Malformed {
    pub(super) offset: usize,
    pub(super) what: String,
}

/// Reads a document.
pub(super) fn parse(text: &str, depth_max: usize) -> Result<Element, Malformed> {
    let mut reader = Reader { text, at: 0 };
    let mut open: Vec<Element> = Vec::new();
    loop {
        let text_before = reader.until('<');
        if !text_before.trim().is_empty()
            && let Some(element) = open.last_mut()
        {
            element.has_text = true;
        }
        if reader.rest().is_empty() {
            return Err(reader.malformed("the document ends before its elements do"));
        }
        if reader.skips("<!--", "-->")? || reader.skips("<?", "?>")? {
            continue;
        }
        if reader.skips("<![CDATA[", "]]>")? {
            open.last_mut().into_iter().for_each(|element| element.has_text = true);
            continue;
        }
        if reader.rest().starts_with("<!DOCTYPE") {
            reader.declaration()?;
            continue;
        }
        let closed = if reader.takes("</") {
            let name = local(reader.name()?);
            reader.space();
            reader.expect(">")?;
            match open.pop() {
                Some(element) if element.name == name => element,
                _ => return Err(reader.malformed(&format!("</{name}> closes nothing"))),
            }
        } else {
            let (element, is_empty) = reader.element()?;
            if !is_empty {
                if open.len() >= depth_max {
                    return Err(reader.malformed("elements are nested too deeply"));
                }
                open.push(element);
                continue;
            }
            element
        };
        match open.last_mut() {
            Some(parent) => parent.children.push(closed),
            None => return Ok(closed),
        }
    }
}

/// A name without its prefix.
fn local(name: &str) -> String {
    name.rsplit(':').next().unwrap_or(name).to_owned()
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn malformed(&self, what: &str) -> Malformed {
        Malformed { offset: self.at, what: what.to_owned() }
    }

    fn until(&mut self, end: char) -> &'t str {
        let rest = self.rest();
        let found = rest.get(..rest.find(end).unwrap_or(rest.len())).unwrap_or_default();
        self.at += found.len();
        found
    }

    fn takes(&mut self, start: &str) -> bool {
        let takes = self.rest().starts_with(start);
        self.at += if takes { start.len() } else { 0 };
        takes
    }

    fn expect(&mut self, wanted: &str) -> Result<(), Malformed> {
        if self.takes(wanted) { Ok(()) } else { Err(self.malformed(&format!("{wanted} is missing"))) }
    }

    /// Goes over what begins and ends like this, if it is here.
    fn skips(&mut self, start: &str, end: &str) -> Result<bool, Malformed> {
        if !self.takes(start) {
            return Ok(false);
        }
        let Some(length) = self.rest().find(end) else { return Err(self.malformed(&format!("{end} is missing"))) };
        self.at += length + end.len();
        Ok(true)
    }

    fn declaration(&mut self) -> Result<(), Malformed> {
        let declaration = self.until('>');
        if declaration.contains('[') {
            return Err(self.malformed("a document type with declarations cannot be read"));
        }
        self.expect(">")
    }

    fn space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn name(&mut self) -> Result<&'t str, Malformed> {
        let rest = self.rest();
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
        let name = rest.get(..rest.find(|c| !is_part(c)).unwrap_or(rest.len())).unwrap_or_default();
        if name.is_empty() {
            return Err(self.malformed("a name is missing"));
        }
        self.at += name.len();
        Ok(name)
    }

    /// A start tag, and whether it is the whole element.
    fn element(&mut self) -> Result<(Element, bool), Malformed> {
        let offset = self.at;
        self.expect("<")?;
        let name = local(self.name()?);
        let mut element = Element { name, attributes: Vec::new(), children: Vec::new(), has_text: false, offset };
        loop {
            self.space();
            if self.takes("/>") {
                return Ok((element, true));
            }
            if self.takes(">") {
                return Ok((element, false));
            }
            let name = self.name()?;
            self.space();
            self.expect("=")?;
            self.space();
            let quote = if self.takes("\"") { '"' } else { '\'' };
            if quote == '\'' {
                self.expect("'")?;
            }
            let raw = self.until(quote);
            let value = self.unescaped(raw)?;
            self.at += quote.len_utf8();
            // Names of name spaces are no attributes of the element.
            if !name.starts_with("xmlns") {
                element.attributes.push((name.to_owned(), value));
            }
        }
    }

    fn unescaped(&self, raw: &str) -> Result<String, Malformed> {
        let mut text = String::with_capacity(raw.len());
        let mut rest = raw;
        while let Some((before, after)) = rest.split_once('&') {
            text.push_str(before);
            let (name, after) = after.split_once(';').ok_or_else(|| self.malformed("; is missing behind &"))?;
            text.push(entity(name).ok_or_else(|| self.malformed(&format!("&{name}; is not known")))?);
            rest = after;
        }
        text.push_str(rest);
        // As XML has it: a line's end in an attribute is a space.
        Ok(text.replace(['\n', '\t', '\r'], " "))
    }
}

fn entity(name: &str) -> Option<char> {
    Some(match name {
        "lt" => '<',
        "gt" => '>',
        "amp" => '&',
        "quot" => '"',
        "apos" => '\'',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix('x') {
                Some(digits) => u32::from_str_radix(digits, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)?
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_read_and_what_is_none_is_refused() {
        let text =
            "<?xml version=\"1.0\"?><!-- c --><s:scxml xmlns:s='x' a='1 &lt; &#50;'>\n <state id=\"b\"/>text</s:scxml>";
        let root = parse(text, 8).unwrap();
        assert_eq!((root.name.as_str(), root.get("a"), root.get("xmlns:s")), ("scxml", Some("1 < 2"), None));
        assert_eq!((root.children.len(), root.children[0].get("id"), root.has_text), (1, Some("b"), true));
        let bad = [
            "",
            "<a>",
            "<a></b>",
            "<a b>",
            "<a b='&x;'/>",
            "<a><b></a></b>",
            "<!DOCTYPE a [<!ENTITY x 'y'>]><a/>",
            "<a b='1",
        ];
        for text in bad {
            assert!(parse(text, 8).is_err(), "{text}");
        }
        assert!(parse(&"<a>".repeat(9), 8).is_err());
    }
}
