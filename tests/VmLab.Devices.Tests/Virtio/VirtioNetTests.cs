using VmLab.Core;
using VmLab.Devices.Virtio;

namespace VmLab.Devices.Tests.Virtio;

public sealed class VirtioNetTests
{
    const int Receive = 0, Send = 1, HeaderSize = 12;
    const ulong Split = ulong.MaxValue & ~VirtioDriver.Packed;

    static readonly MacAddress s_address = new(0x5254_0012_3456);
    static readonly byte[] s_frame = [.. Enumerable.Range(0, 100).Select(i => (byte)i)];

    readonly VirtioDriver _driver = new(board => new VirtioNet(board, s_address, VirtioNet.DefaultRate));
    readonly List<byte[]> _sent = [];
    readonly VirtioNet _card;

    public VirtioNetTests()
    {
        _card = (VirtioNet)_driver.Device;
        _card.Sent = frame => _sent.Add(frame.ToArray());
    }

    [TestCase(Split), TestCase(ulong.MaxValue)]
    public void Sent_frame_comes_out_without_its_header(ulong features)
    {
        Start(features);
        _driver.Do(Send, _driver.Out([.. new byte[HeaderSize], .. s_frame]));
        _driver.Do(Send, _driver.Out(new byte[HeaderSize]), _driver.Out(s_frame));
        Assert.That(_sent, Is.EqualTo(new[] { s_frame, s_frame }));
    }

    [Test]
    public void Answer_may_come_while_the_frame_is_being_sent()
    {
        Start(Split);
        Piece buffer = _driver.In(1526);
        _driver.Queue(Receive).Add(_driver.In(1526));
        _driver.Queue(Receive).Add(buffer);
        _card.Sent = _ => _card.Receive(s_frame);
        for (int i = 0; i < 2; i++)
            Assert.That(_driver.Do(Send, _driver.Out([.. new byte[HeaderSize], .. s_frame])), Is.Zero);
        Assert.That(_driver.Bytes(buffer)[HeaderSize..112], Is.EqualTo(s_frame));
    }

    [Test]
    public void Frame_takes_its_time_to_leave()
    {
        Start(Split);
        _driver.Queue(Send).Add(_driver.Out(new byte[1250]));
        _driver.Kick(Send);
        Assert.That((_sent.Count, _card.NextDeadline), Is.EqualTo((0, 2_000UL + 1_000)));
    }

    [TestCase(Split), TestCase(ulong.MaxValue)]
    public void Received_frame_follows_a_header_of_zeros_and_one_buffer(ulong features)
    {
        Start(features);
        Piece buffer = _driver.In(1526);
        _driver.Queue(Receive).Add(buffer);
        _driver.Kick(Receive);
        Assert.That(_card.Receive(s_frame), Is.True);
        _driver.Settle();

        Assert.That(_driver.Queue(Receive).Take()!.Value.Written, Is.EqualTo(HeaderSize + s_frame.Length));
        Assert.That(_driver.Bytes(buffer)[..112], Is.EqualTo((byte[])[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, .. s_frame]));
    }

    [Test]
    public void Frames_wait_for_buffers_in_their_order()
    {
        Start(Split);
        for (byte i = 0; i < 3; i++) _card.Receive([i]);
        Piece[] buffers = [.. Enumerable.Range(0, 3).Select(_ => _driver.In(100))];
        foreach (Piece buffer in buffers) _driver.Queue(Receive).Add(buffer);
        _driver.Kick(Receive);
        _driver.Settle();
        Assert.That(buffers.Select(buffer => _driver.Bytes(buffer)[HeaderSize]), Is.EqualTo((byte[])[0, 1, 2]));
    }

    [Test]
    public void Full_queue_drops_the_newest()
    {
        Start(Split);
        bool[] taken = [.. Enumerable.Range(0, VirtioNet.MostWaiting + 2).Select(_ => _card.Receive(s_frame))];
        Assert.That((taken.Count(isTaken => isTaken), taken[^1], _card.Dropped), Is.EqualTo((VirtioNet.MostWaiting, false, 2UL)));
    }

    [Test]
    public void Nobody_gets_a_frame_without_a_driver() => Assert.That(_card.Receive(s_frame), Is.False);

    [Test]
    public void Link_that_is_down_carries_nothing_and_says_so()
    {
        Start(Split);
        _card.IsLinkUp = false;
        _driver.Do(Send, _driver.Out([.. new byte[HeaderSize], .. s_frame]));
        Assert.That((_sent.Count, _card.Receive(s_frame)), Is.EqualTo((0, false)));
        Assert.That((_driver.Read(VirtioDriver.Config + 6, 2), _driver.Read(VirtioDriver.InterruptStatus, 1)), Is.EqualTo((0UL, 3UL)));
        Assert.That(_driver.Read(0x15, 1), Is.EqualTo(1), "another generation of the configuration");
    }

    [Test]
    public void Address_is_in_the_configuration()
    {
        byte[] address = [.. Enumerable.Range(0, 6).Select(i => (byte)_driver.Read(VirtioDriver.Config + i, 1))];
        Assert.That((MacAddress.Read(address), s_address.ToString()), Is.EqualTo((s_address, "52:54:00:12:34:56")));
    }

    [TestCase(11), TestCase(HeaderSize + VirtioNet.LongestFrame + 1)]
    public void Frame_of_no_possible_length_breaks_the_card(int length)
    {
        Start(Split);
        _driver.Queue(Send).Add(_driver.Out(new byte[length]));
        _driver.Kick(Send);
        _driver.Settle();
        Assert.That((_sent.Count, _card.Transport.Malformed), Is.EqualTo((0, 1UL)));
    }

    [TestCase(Split), TestCase(ulong.MaxValue)]
    public void Restored_device_behaves_as_the_saved_one(ulong features) =>
        Laws.RestoredBehavesAsSaved(() => NewBench(features), VirtioBench.Pokes(0x40));

    [TestCase(Split), TestCase(ulong.MaxValue)]
    public void Bears_anything(ulong features) => Laws.BearsAnything(() => NewBench(features), VirtioBench.Pokes(0x4000));

    static Bench<VirtioBench.State<VirtioNet.State>> NewBench(ulong features) => VirtioBench.Of<VirtioNet.State>(
        board => new VirtioNet(board, s_address, VirtioNet.DefaultRate), features,
        (device, poke) => ((VirtioNet)device).Receive(new byte[poke.Value % 2000]));

    void Start(ulong features) => _driver.Negotiate(features).WithQueue(Receive).WithQueue(Send).Ready();
}
