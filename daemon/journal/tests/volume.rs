//! Volumes and checkpoints: what is refused is not touched, and a crash at any moment leaves what was or what is to be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // It is a test.

use statemesh_journal::born::{Born, Founder};
use statemesh_journal::checkpoint::{self, Checkpoint, CheckpointError, CheckpointWriter, Wrong};
use statemesh_journal::header::{FileFault, HeaderFault};
use statemesh_journal::storage::{self, Storage};
use statemesh_journal::testing::SimDisk;
use statemesh_journal::volume::{self, Opened, Volume, VolumeError, Who};
use statemesh_protocol::place::{StoredPlace, StoredTier};
use statemesh_protocol::record::{NewSection, Part, StoredImage};

const WHO: Who<'static> = Who { mesh: "m", member: "a", partitions: 8, shards: 64 };

fn born() -> Born {
    let founder = Founder { name: "a".to_owned(), volume: 99, zone: String::new() };
    Born { mesh: "m".to_owned(), birth: 5, partitions: 8, at: 1, founders: vec![founder] }
}

fn make(disk: &SimDisk) -> Result<Volume<impl Sized + use<>>, VolumeError> {
    match volume::open(disk, &WHO)? {
        Opened::Blank(blank) => volume::create(disk, blank, &WHO, 99),
        Opened::Volume(volume) => Ok(volume),
    }
}

/// Names and contents of everything in the folder itself.
fn everything(disk: &SimDisk) -> Vec<(String, Vec<u8>)> {
    let read = |name: String| (name.clone(), storage::read(disk, &name, 1 << 20).expect("a file"));
    disk.list("").expect("no faults").into_iter().map(read).collect()
}

#[test]
fn a_volume_that_is_not_this_daemons_is_refused_and_stays_as_it_is() {
    let disk = SimDisk::new(1);
    let mut volume = make(&disk).expect("a volume");
    volume::bear(&disk, &mut volume, born()).expect("no faults");
    drop(volume);
    let before = everything(&disk);
    for (who, code) in [
        (Who { mesh: "other", ..WHO }, "storage_mesh"),
        (Who { member: "b", ..WHO }, "storage_member"),
        (Who { partitions: 16, ..WHO }, "storage_partitions"),
    ] {
        let refused = volume::open(&disk, &who).expect_err("another's");
        assert_eq!(refused.code(), code);
        assert!(refused.to_string().contains("this volume"), "{refused}");
        assert_eq!(everything(&disk), before);
    }
    let Ok(Opened::Volume(volume)) = volume::open(&disk, &Who { shards: 32, ..WHO }) else { panic!("it is ours") };
    assert_eq!((volume.id.boots, volume.id.shards, volume.born.as_ref()), (2, 32, Some(&born())));
    assert_eq!(volume::open(&disk, &WHO).expect_err("in use").code(), "storage_locked");
}

#[test]
fn a_folder_with_other_files_is_no_volume_and_one_with_what_a_filesystem_makes_is() {
    let disk = SimDisk::new(1);
    disk.create("lost+found").expect("no faults");
    disk.create("volume.id.new").expect("no faults");
    assert!(matches!(volume::open(&disk, &WHO), Ok(Opened::Blank(_))));
    disk.create("pg_wal").expect("no faults");
    let before = everything(&disk);
    let refused = volume::open(&disk, &WHO).expect_err("somebody's database");
    assert_eq!((refused.code(), everything(&disk)), ("storage_foreign", before));
    // A certificate without the volume that it is about.
    let disk = SimDisk::new(1);
    disk.create("born").expect("no faults");
    assert_eq!(volume::open(&disk, &WHO).expect_err("half a volume").code(), "storage_damaged");
}

#[test]
fn a_later_format_is_refused_and_not_taken_for_damage() {
    for (path, at) in [("volume.id", 8), ("volume.id", 10), ("born", 8)] {
        let disk = SimDisk::new(1);
        let mut volume = make(&disk).expect("a volume");
        volume::bear(&disk, &mut volume, born()).expect("no faults");
        drop(volume);
        let mut bytes = storage::read(&disk, path, 1 << 20).expect("a file");
        bytes[at] += 1;
        let crc = crc32c::crc32c(&bytes[..20]);
        bytes[20..24].copy_from_slice(&crc.to_le_bytes());
        storage::replace(&disk, path, &bytes).expect("no faults");
        let before = everything(&disk);
        let refused = volume::open(&disk, &WHO).expect_err("a later format");
        assert_eq!((refused.code(), everything(&disk)), ("storage_format", before), "{path} {at}");
    }
}

#[test]
fn a_bit_that_flips_in_a_volumes_files_is_said() {
    for path in ["volume.id", "born"] {
        let disk = SimDisk::new(1);
        let mut volume = make(&disk).expect("a volume");
        volume::bear(&disk, &mut volume, born()).expect("no faults");
        drop(volume);
        let bits = storage::read(&disk, path, 1 << 20).expect("a file").len() as u64 * 8;
        for bit in 0..bits {
            assert!(disk.flip(path, bit));
            assert_eq!(volume::open(&disk, &WHO).expect_err("damaged").code(), "storage_damaged", "{path} {bit}");
            assert!(disk.flip(path, bit));
        }
        assert!(volume::open(&disk, &WHO).is_ok());
    }
}

#[test]
fn errors_of_the_system_have_codes_of_their_own() {
    let code = |kind: std::io::ErrorKind| VolumeError::from(std::io::Error::from(kind)).code();
    use std::io::ErrorKind::{Other, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let codes = [StorageFull, QuotaExceeded, ReadOnlyFilesystem, PermissionDenied, Other].map(code);
    assert_eq!(codes, ["storage_full", "storage_full", "storage_read_only", "storage_read_only", "storage_failed"]);
}

/// The power goes within each operation of a birth and the two starts behind it.
#[test]
fn a_crash_at_any_moment_leaves_a_blank_folder_or_a_volume_and_boots_never_go_back() {
    for seed in 0..40 {
        for operations in 0..60 {
            let disk = SimDisk::new(seed);
            disk.cut_after(operations);
            let mut boots = 0;
            let run = |boots: &mut u64| -> Result<(), VolumeError> {
                let mut volume = make(&disk)?;
                *boots = volume.id.boots;
                volume::bear(&disk, &mut volume, born())?;
                drop(volume);
                *boots = make(&disk)?.id.boots;
                Ok(())
            };
            let _ = run(&mut boots);
            disk.power_on();
            let volume = make(&disk).expect("a volume, whenever the power went");
            assert!(volume.id.volume == 99 && volume.id.boots > boots, "seed {seed}, after {operations}");
        }
    }
}

fn section(index: u64) -> NewSection<'static> {
    NewSection {
        place: StoredPlace { tier: StoredTier::Disk, partition: 3 },
        term: 0,
        vote: None,
        configuration: &[],
        index,
        at: 1,
        replay_from: 1,
        definitions: &[[1; 32]],
        context_keys: &["total"],
        events: &["PAY"],
        queues: &[],
        sent: &[],
        received: &[],
        consumers: &[],
    }
}

/// A checkpoint of shard 3 with two sections of three images each.
fn write(disk: &SimDisk, replay_from: u64, covered: u64, durable: u64) -> Result<(), CheckpointError> {
    let mut writer = CheckpointWriter::begin(disk, 99, 3, replay_from)?;
    for number in 0..2 {
        writer.section(&section(number))?;
        for key in 0..3 {
            writer.image(&StoredImage::new(replay_from, 1, 0, key), |parts| {
                parts.part(&Part::Machine("order")).part(&Part::Auxiliary(&[7; 40]));
            })?;
        }
    }
    writer.finish(covered, durable, 1).map(|_| ())
}

fn newest(disk: &SimDisk) -> (Option<u64>, usize) {
    let mut aside = 0;
    let lsns = checkpoint::list(disk).expect("no faults").remove(&3).unwrap_or_default();
    let newest = checkpoint::newest(disk, 99, 3, &lsns, |_, _| aside += 1).expect("no later format");
    (newest.map(|checkpoint| checkpoint.head.replay_from), aside)
}

#[test]
fn a_checkpoint_is_right_to_the_last_bit_or_none_at_all() {
    let disk = SimDisk::new(1);
    write(&disk, 5, 6, 6).expect("no faults");
    let bytes = storage::read(&disk, &checkpoint::path(3, 5), 1 << 20).expect("a file");
    let read = Checkpoint::check(bytes.clone()).expect("it is right");
    let mut images = Vec::new();
    read.sections(|head, each| images.push((head.index, each.count())));
    assert_eq!((images, read.head.sections), (vec![(0, 3), (1, 3)], 2));
    for cut in 0..bytes.len() {
        assert!(Checkpoint::check(bytes[..cut].to_vec()).is_err(), "{cut}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut other = bytes.clone();
        other[bit / 8] ^= 1 << (bit % 8);
        assert!(Checkpoint::check(other).is_err(), "{bit}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(Checkpoint::check(longer).is_err());
}

#[test]
fn a_damaged_checkpoint_is_set_aside_and_the_one_before_it_taken() {
    let disk = SimDisk::new(1);
    write(&disk, 5, 6, 6).expect("no faults");
    write(&disk, 9, 9, 9).expect("no faults");
    disk.flip(&checkpoint::path(3, 9), 1_000);
    assert_eq!(newest(&disk), (Some(5), 1));
    let kept = format!("{}{}", checkpoint::path(3, 9), checkpoint::DAMAGED);
    assert!(storage::read(&disk, &kept, 1 << 20).is_ok());
    // Right, but under another name: its journal would be read from the wrong batch on.
    disk.rename(&checkpoint::path(3, 5), &checkpoint::path(3, 7)).expect("no faults");
    assert_eq!(newest(&disk), (None, 1));
}

#[test]
fn a_checkpoint_of_a_later_format_is_refused_and_left_where_it_is() {
    let disk = SimDisk::new(1);
    write(&disk, 5, 6, 6).expect("no faults");
    let path = checkpoint::path(3, 5);
    let mut bytes = storage::read(&disk, &path, 1 << 20).expect("a file");
    bytes[8] = 2;
    let crc = crc32c::crc32c(&bytes[..20]);
    bytes[20..24].copy_from_slice(&crc.to_le_bytes());
    storage::replace(&disk, &path, &bytes).expect("no faults");
    let refused = checkpoint::newest(&disk, 99, 3, &[5], |_, _| panic!("set aside"));
    let later = Wrong::File(FileFault::Header(HeaderFault::Later(2)));
    assert!(matches!(refused, Err(CheckpointError::Later { wrong, .. }) if wrong == later));
    assert_eq!(storage::read(&disk, &path, 1 << 20).expect("a file"), bytes);
}

#[test]
fn what_may_still_be_lost_makes_no_checkpoint() {
    let disk = SimDisk::new(1);
    assert!(matches!(write(&disk, 5, 7, 6), Err(CheckpointError::TooEarly { covered: 7, durable: 6 })));
    assert!(disk.list(checkpoint::FOLDER).expect("no faults").is_empty());
}

#[test]
fn a_crash_at_any_moment_leaves_the_checkpoint_before_or_the_new_one() {
    let [mut before, mut new] = [0; 2];
    for seed in 0..60 {
        for operations in 0..25 {
            let disk = SimDisk::new(seed);
            write(&disk, 5, 6, 6).expect("no faults");
            disk.cut_after(operations);
            let written = write(&disk, 9, 9, 9).and_then(|()| Ok(checkpoint::remove_older(&disk, 3, 9)?));
            disk.power_on();
            let (found, aside) = newest(&disk);
            assert_eq!(aside, 0, "seed {seed}, after {operations}");
            assert!(found == Some(9) || (written.is_err() && found == Some(5)), "seed {seed}, after {operations}");
            before += u64::from(found == Some(5));
            new += u64::from(found == Some(9));
        }
    }
    println!("{before} times the one before, {new} times the new one");
    assert!(before > 0 && new > 0);
}

/// The process ends within each operation, the next one reads what there is, and then the power goes.
#[test]
fn a_checkpoint_that_was_read_once_is_there_for_good() {
    let mut new = 0;
    for seed in 0..60 {
        for operations in 0..25 {
            let disk = SimDisk::new(seed);
            write(&disk, 5, 6, 6).expect("no faults");
            disk.cut_after(operations);
            let _ = write(&disk, 9, 9, 9);
            disk.kill();
            let read = newest(&disk);
            disk.power_on();
            assert_eq!(newest(&disk), read, "seed {seed}, after {operations}");
            new += u64::from(read.0 == Some(9));
        }
    }
    assert!(new > 0);
}
