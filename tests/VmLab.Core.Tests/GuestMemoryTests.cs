using VmLab.Core;

namespace VmLab.Core.Tests;

public sealed class GuestMemoryTests : IDisposable
{
    readonly FramePool _pool = new(64.MiB);
    readonly GuestMemory _memory;
    readonly Observer _observer = new();

    public GuestMemoryTests()
    {
        _memory = new GuestMemory(_pool, 2.MiB);
        _memory.Attach(_observer);
    }

    public void Dispose()
    {
        _memory.Dispose();
        _pool.Dispose();
    }

    [Test]
    public void Fresh_memory_reads_as_zeros_and_takes_no_frames()
    {
        Assert.That(_memory.Read64(0x1234), Is.Zero);
        Assert.That(_pool.FramesInUse, Is.Zero);
    }

    [Test]
    public void A_store_takes_one_frame_and_is_read_back_across_pages()
    {
        _memory.Write64(0xFFC, 0x1122334455667788);

        Assert.That(_memory.Read64(0xFFC), Is.EqualTo(0x1122334455667788));
        Assert.That(_memory.Read32(0x1000), Is.EqualTo(0x11223344));
        Assert.That(_pool.FramesInUse, Is.EqualTo(2));
    }

    [Test]
    public void Memory_behind_the_end_reads_as_ones_and_swallows_writes()
    {
        ulong end = _memory.TopPage << GuestMemory.PageShift;

        _memory.Write64(end - 4, 0);

        Assert.That(_memory.Read64(end - 4), Is.EqualTo(0xFFFF_FFFF_0000_0000));
    }

    [Test]
    public void The_first_store_to_a_cached_page_moves_it_out_of_the_zero_frame()
    {
        unsafe { _memory.Cache(3); }

        _memory.Write64(3 << GuestMemory.PageShift, 1);

        Assert.That(_observer.Moved, Is.EqualTo(new ulong[] { 3 }));
    }

    [Test]
    public void Protection_takes_rights_back_and_announces_stores_until_it_is_lifted()
    {
        _memory.Write64(0x5000, 1);
        unsafe { _memory.Cache(5); }

        _memory.Protect(5, PageFlags.Code);
        _memory.Write64(0x5008, 2);
        _memory.Unprotect(5, PageFlags.Code);
        _memory.Write64(0x5010, 3);

        Assert.That(_observer.Protected, Is.EqualTo(new ulong[] { 5 }));
        Assert.That(_observer.Written, Is.EqualTo(new[] { (5UL, 8, 8) }));
    }

    [Test]
    public void Equal_bytes_hash_alike_whatever_frames_hold_them()
    {
        using var other = new GuestMemory(_pool, 2.MiB);
        ulong untouched = other.Hash();

        other.Write64(0x8000, 7);
        ulong changed = other.Hash();
        other.Write64(0x8000, 0);

        Assert.That(changed, Is.Not.EqualTo(untouched));
        Assert.That(other.Hash(), Is.EqualTo(untouched));
    }

    [Test]
    public void Large_memory_leaves_room_for_devices_below_four_gigabytes()
    {
        using var large = new GuestMemory(_pool, 4.GiB);

        Assert.That(large.Ranges, Is.EqualTo(new[] { (0UL, 0xC000_0000UL), (0x1_0000_0000UL, 0x4000_0000UL) }));
        Assert.That(large.IsRam(0xC_0000), Is.False);
        Assert.That(large.IsRam(0x10_0000), Is.True);
    }

    [Test]
    public void A_released_frame_is_used_again()
    {
        var memory = new GuestMemory(_pool, 2.MiB);
        memory.Write64(0, 1);
        memory.Dispose();

        Assert.That(_pool.FramesInUse, Is.Zero);
    }

    [Test]
    public void A_full_pool_says_so()
    {
        using var pool = new FramePool(16.MiB);
        using var memory = new GuestMemory(pool, 64.MiB);

        Assert.That(
            () => { for (ulong page = 0; page < 8192; page++) memory.Write64(page << GuestMemory.PageShift, 1); },
            Throws.TypeOf<LabException>().With.Message.Contains("16 MiB"));
    }

    [Test]
    public void A_moment_keeps_what_was_and_is_given_back()
    {
        _memory.Write64(0x1000, 1);
        using MemoryMoment moment = _memory.Snapshot();
        ulong hash = _memory.Hash();

        _memory.Write64(0x1000, 2);
        _memory.Write64(0x5000, 3);
        _memory.Restore(moment);

        Assert.That((_memory.Read64(0x1000), _memory.Read64(0x5000), _memory.Hash()), Is.EqualTo((1UL, 0UL, hash)));
    }

    [Test]
    public void Pages_written_since_a_moment_are_dirty()
    {
        _memory.Write64(0x1000, 1);
        using MemoryMoment moment = _memory.Snapshot();
        Assert.That(_memory.DirtyPages.Length, Is.Zero);

        _memory.Write64(0x5000, 3);
        _memory.Write64(0x5008, 4);
        _memory.Write64(0x3000, 3);
        Assert.That(_memory.DirtyPages.ToArray(), Is.EqualTo(new uint[] { 5, 3 }));

        _memory.Restore(moment);
        Assert.That(_memory.DirtyPages.Length, Is.Zero);
    }

    [Test]
    public void A_restore_names_the_pages_that_differ()
    {
        var observer = new Observer();
        _memory.Attach(observer);
        _memory.Write64(0x1000, 1);
        using MemoryMoment moment = _memory.Snapshot();
        _memory.Write64(0x2000, 1);

        _memory.Restore(moment);

        Assert.That((observer.Replaced, observer.Moments), Is.EqualTo((new List<ulong> { 2 }, 2)));
    }

    [Test]
    public void A_moment_takes_memory_for_what_changes()
    {
        for (ulong page = 0; page < 100; page++) _memory.Write64(page << GuestMemory.PageShift, 1);
        uint before = _pool.FramesInUse;

        using MemoryMoment moment = _memory.Snapshot();
        Assert.That(_pool.FramesInUse, Is.EqualTo(before));

        _memory.Write64(0, 2);
        Assert.That(_pool.FramesInUse, Is.EqualTo(before + 1));
    }

    [Test]
    public void A_moment_of_another_size_is_refused()
    {
        using var other = new GuestMemory(_pool, 4.MiB);
        using MemoryMoment moment = other.Snapshot();

        Assert.That(() => _memory.Restore(moment), Throws.ArgumentException);
    }

    sealed class Observer : IMemoryObserver
    {
        public List<ulong> Protected { get; } = [];
        public List<ulong> Moved { get; } = [];
        public List<(ulong Page, int Offset, int Length)> Written { get; } = [];

        public List<ulong> Replaced { get; } = [];
        public int Moments { get; private set; }

        public void OnAllProtected() => Moments++;
        public void OnReplacing(ulong page) => Replaced.Add(page);
        public void OnProtected(ulong page) => Protected.Add(page);
        public void OnMoved(ulong page) => Moved.Add(page);
        public void OnWriting(ulong page, int offset, int length, PageFlags flags) => Written.Add((page, offset, length));
    }
}
