//! The certificate of a mesh: who was there when it began. Each of them has the same one, and two of different births never link.

use statemesh_protocol::record::{Field, Fields, Unreadable, put_varint};

use crate::header::{self, BORN, FileFault, HEADER_LEN};

/// A daemon that was there at the birth of a mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Founder {
    /// Its name.
    pub name: String,
    /// Its volume.
    pub volume: u64,
    /// Its zone.
    pub zone: String,
}

/// The certificate of a mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Born {
    /// The mesh.
    pub mesh: String,
    /// Random: which birth it was.
    pub birth: u64,
    /// The mesh's number of partitions.
    pub partitions: u16,
    /// Mesh time, in milliseconds.
    pub at: u64,
    /// Who was there.
    pub founders: Vec<Founder>,
}

impl Born {
    /// Its bytes, as the file has them.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        self.mesh.as_str().write(&mut body);
        body.extend_from_slice(&self.birth.to_le_bytes());
        body.extend_from_slice(&self.partitions.to_le_bytes());
        put_varint(self.at, &mut body);
        put_varint(self.founders.len() as u64, &mut body);
        for founder in &self.founders {
            founder.name.as_str().write(&mut body);
            body.extend_from_slice(&founder.volume.to_le_bytes());
            founder.zone.as_str().write(&mut body);
        }
        let mut bytes = Vec::new();
        header::write(BORN, &body, &mut bytes);
        bytes
    }

    /// The crc of its content: what daemons compare when they greet.
    #[must_use]
    pub fn crc(&self) -> u32 {
        let bytes = self.encode();
        bytes.get(HEADER_LEN..).map_or(0, crc32c::crc32c)
    }

    /// Reads the bytes of the file.
    pub fn decode(bytes: &[u8]) -> Result<Self, FileFault> {
        let mut body = Fields::new(header::read(BORN, bytes)?);
        let mesh = body.read::<&str>()?.to_owned();
        let birth = u64::from_le_bytes(*body.array()?);
        let partitions = u16::from_le_bytes(*body.array()?);
        let at = body.varint()?;
        let founders = (0..body.count()?).map(|_| Founder::read(&mut body)).collect::<Result<_, Unreadable>>()?;
        body.finish()?;
        Ok(Self { mesh, birth, partitions, at, founders })
    }
}

impl Founder {
    fn read(body: &mut Fields<'_>) -> Result<Self, Unreadable> {
        let name = body.read::<&str>()?.to_owned();
        let volume = u64::from_le_bytes(*body.array()?);
        Ok(Self { name, volume, zone: body.read::<&str>()?.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_read_as_it_was_written_and_two_births_have_other_crcs() {
        let founder = |name: &str| Founder { name: name.to_owned(), volume: 9, zone: "z".to_owned() };
        let founders = vec![founder("a"), founder("b")];
        let born = Born { mesh: "m".to_owned(), birth: 5, partitions: 8, at: 300, founders };
        assert_eq!(Born::decode(&born.encode()), Ok(born.clone()));
        assert_ne!(born.crc(), Born { birth: 6, ..born }.crc());
    }
}
