namespace VmLab.Core.Tests;

public sealed unsafe class EqualPagesTests : IDisposable
{
    const uint Page = 3, Other = 7;
    const ulong Address = Page * GuestMemory.PageSize;

    readonly FramePool _pool = new(64.MiB);
    readonly GuestMemory _first, _second;

    public EqualPagesTests() => (_first, _second) = (new GuestMemory(_pool, 1.MiB), new GuestMemory(_pool, 1.MiB));

    public void Dispose()
    {
        _first.Dispose();
        _second.Dispose();
        _pool.Dispose();
    }

    [Test]
    public void Equal_pages_are_held_once_wherever_they_lie()
    {
        Write(_first, Page, 1);
        Write(_first, Other, 2);
        Write(_second, Page, 2);

        Share();

        Assert.That(_second.FrameOf(Page), Is.EqualTo(_first.FrameOf(Other)));
        Assert.That(_pool.FramesInUse, Is.EqualTo(2));
    }

    [Test]
    public void A_store_by_either_is_seen_by_that_one_alone([Values] bool isByTheFirst)
    {
        Write(_first, Page, 1);
        Write(_second, Page, 1);
        Share();
        GuestMemory writer = isByTheFirst ? _first : _second, reader = isByTheFirst ? _second : _first;

        writer.Write16(Address, 0x1234);

        Assert.That((writer.Read16(Address), reader.Read16(Address)), Is.EqualTo((0x1234, 0x0101)));
    }

    [Test]
    public void A_right_to_store_that_was_given_is_taken_back()
    {
        Write(_first, Page, 1);
        Write(_second, Page, 1);
        var seen = new Seen();
        _first.Attach(seen);
        _second.Attach(seen);
        _first.Cache(Page);
        _second.Cache(Page);

        Share();

        Assert.That((seen.Moved, seen.Protected), Is.EqualTo((new[] { (ulong)Page }, new[] { (ulong)Page, Page })));
    }

    [Test]
    public void Memories_whose_pages_are_shared_are_given_back_whole()
    {
        Write(_first, Page, 1);
        Write(_second, Page, 1);
        Share();

        _first.Dispose();
        Assert.That(_second.Read16(Address), Is.EqualTo(0x0101));
        _second.Dispose();

        Assert.That(_pool.FramesInUse, Is.Zero);
    }

    void Share()
    {
        var pages = new EqualPages();
        pages.Share(_first);
        pages.Share(_second);
    }

    static void Write(GuestMemory memory, uint page, byte value)
    {
        byte[] bytes = new byte[GuestMemory.PageSize];
        Array.Fill(bytes, value);
        memory.Write((ulong)page * GuestMemory.PageSize, bytes);
    }

    sealed class Seen : IMemoryObserver
    {
        public List<ulong> Moved { get; } = [];
        public List<ulong> Protected { get; } = [];

        public void OnMoved(ulong page) => Moved.Add(page);
        public void OnProtected(ulong page) => Protected.Add(page);
        public void OnAllProtected() => throw new NotSupportedException();
        public void OnReplacing(ulong page) => throw new NotSupportedException();
        public void OnWriting(ulong page, int offset, int length, PageFlags flags) => throw new NotSupportedException();
    }
}
