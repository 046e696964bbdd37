//! How RocksDB is set up: column families, memory, log and files.
//!
//! | family    | rows                                                                    |
//! |-----------|-------------------------------------------------------------------------|
//! | `records` | one a slot: the record, or its head alone where the body lies apart     |
//! | `bodies`  | bodies of [`BODY_APART_FROM`](super::rows::BODY_APART_FROM) bytes and more, in blob files |
//! | `index`   | when heads and bodies end, by span and period: the set that fingerprints are of |
//! | `usage`   | what each publisher, key and class uses, and all together               |
//! | `state`   | schema, network, incarnation, clock, cursors, saved peers, progress     |

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode, LogLevel,
    Options, SliceTransform, WriteBufferManager,
};

/// A column family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Family {
    Records,
    Bodies,
    Index,
    Usage,
    State,
}

impl Family {
    pub(super) const ALL: [Family; 5] =
        [Family::Records, Family::Bodies, Family::Index, Family::Usage, Family::State];

    /// The name on disk.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Family::Records => "records",
            Family::Bodies => "bodies",
            Family::Index => "index",
            Family::Usage => "usage",
            Family::State => "state",
        }
    }
}

/// The part of the cache that pays for memtables, all families together: for writes that are in the
/// log but not in tables yet.
const MEMTABLES_SHARE: usize = 3;
/// The most memory for memtables: more would only lengthen a restart.
const MEMTABLES_BYTES_MAX: usize = 64 << 20;
/// The part of that which one memtable may take. Each has some room reserved from the start, so
/// that five of a fixed size would fill a small cache while they are empty.
const MEMTABLE_SHARE: usize = 4;
/// The log's size at which the oldest memtable is written out: bounds the time of a restart.
const LOG_BYTES_MAX: u64 = 128 << 20;
/// Open table files: below the 1,024 descriptors that a process has by default, with room for
/// connections' sockets and blob files.
const OPEN_FILES_MAX: i32 = 512;
/// Flushes and compactions at once: the machines that this runs on have two cores.
const BACKGROUND_JOBS: i32 = 2;
/// Bytes written in the background before they are handed to the disk: no bursts of writeback that
/// a commit would have to wait for.
const BYTES_PER_SYNC: u64 = 1 << 20;
/// Length of the prefix by which rows of one key are found: the key.
const PREFIX_LEN: usize = 32;
/// Bits a row in the filters: one false positive in a hundred.
const FILTER_BITS: f64 = 10.0;
/// Part of a memtable for its own filter.
const MEMTABLE_FILTER_RATIO: f64 = 0.1;
/// RocksDB's own log: kept small.
const INFO_LOG_BYTES: usize = 4 << 20;
const INFO_LOG_FILES: usize = 2;

/// RocksDB's settings. They share one cache, also over a reopening.
pub(super) struct Settings {
    cache: Cache,
    memtables: WriteBufferManager,
    memtable_bytes: usize,
}

impl Settings {
    /// Settings with one cache of so many bytes for blocks, blobs and memtables.
    pub(super) fn new(cache_bytes: usize) -> Self {
        let cache = Cache::new_lru_cache(cache_bytes);
        let memtables_bytes = MEMTABLES_BYTES_MAX.min(cache_bytes / MEMTABLES_SHARE);
        let memtables = WriteBufferManager::new_write_buffer_manager_with_cache(
            memtables_bytes,
            false,
            cache.clone(),
        );
        Settings { cache, memtables, memtable_bytes: memtables_bytes / MEMTABLE_SHARE }
    }

    /// The database's own options. Only a fresh directory may be created in.
    pub(super) fn database(&self, create: bool) -> Options {
        let mut options = Options::default();
        options.create_if_missing(create);
        options.create_missing_column_families(create);
        options.set_paranoid_checks(true);
        options.set_write_buffer_manager(&self.memtables);
        options.set_max_total_wal_size(LOG_BYTES_MAX);
        options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        options.set_recycle_log_file_num(0);
        options.set_track_and_verify_wals_in_manifest(true);
        options.set_use_fsync(false);
        options.set_max_open_files(OPEN_FILES_MAX);
        options.set_max_background_jobs(BACKGROUND_JOBS);
        options.set_bytes_per_sync(BYTES_PER_SYNC);
        options.set_log_level(LogLevel::Warn);
        options.set_max_log_file_size(INFO_LOG_BYTES);
        options.set_keep_log_file_num(INFO_LOG_FILES);
        options.set_stats_dump_period_sec(0);
        options
    }

    /// Every family with its options.
    pub(super) fn families(&self) -> Vec<ColumnFamilyDescriptor> {
        Family::ALL
            .map(|family| ColumnFamilyDescriptor::new(family.name(), self.family(family)))
            .into()
    }

    fn family(&self, family: Family) -> Options {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&self.cache);
        table.set_cache_index_and_filter_blocks(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        table.set_bloom_filter(FILTER_BITS, false);
        table.set_whole_key_filtering(true);
        let mut options = Options::default();
        options.set_block_based_table_factory(&table);
        options.set_write_buffer_size(self.memtable_bytes);
        options.set_level_compaction_dynamic_level_bytes(true);
        options.set_compression_type(DBCompressionType::None);
        options.set_bottommost_compression_type(DBCompressionType::Lz4);
        if matches!(family, Family::Records | Family::Bodies) {
            options.set_prefix_extractor(SliceTransform::create_fixed_prefix(PREFIX_LEN));
            options.set_memtable_prefix_bloom_ratio(MEMTABLE_FILTER_RATIO);
            options.set_memtable_whole_key_filtering(true);
        }
        if family == Family::Bodies {
            options.set_enable_blob_files(true);
            options.set_min_blob_size(super::rows::BODY_APART_FROM as u64);
            options.set_enable_blob_gc(true);
            options.set_blob_cache(&self.cache);
        }
        options
    }
}
