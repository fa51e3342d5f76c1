using CsCheck;
using VmLab.Guests.Channel;

namespace VmLab.Guests.Tests.Channel;

public sealed class ChannelOutboxTests
{
    [Test]
    public void All_comes_out_in_order_and_never_more_than_the_window_is_under_way() =>
        Gen.Int[1, 50_000].Array[1, 8].Sample(sizes =>
        {
            var outbox = new ChannelOutbox();
            byte[] all = [.. Enumerable.Range(0, sizes.Sum()).Select(i => (byte)(i * 31 / 7))];
            int position = 0;
            foreach (int size in sizes) outbox.Post(all[position..(position += size)]);

            var received = new List<byte>();
            int largest = 0;
            for (byte[] part; (part = outbox.Take()).Length > 0; outbox.Notice(new ChannelTaken((uint)received.Count)))
            {
                received.AddRange(part);
                largest = Math.Max(largest, part.Length);
            }
            return received.SequenceEqual(all) && largest <= ChannelOutbox.Window && outbox.IsEmpty;
        });

    [Test]
    public void Full_window_waits_for_what_was_taken()
    {
        var outbox = new ChannelOutbox();
        outbox.Post(new byte[3 * ChannelOutbox.Window]);

        Assert.That(outbox.Take(), Has.Length.EqualTo(ChannelOutbox.Window));
        Assert.That(outbox.Take(), Is.Empty);

        outbox.Notice(new ChannelTaken(1000));
        Assert.That(outbox.Take(), Has.Length.EqualTo(1000));
    }

    [Test]
    public void Count_goes_on_past_32_bits()
    {
        var outbox = new ChannelOutbox();
        uint taken = 0;
        outbox.Notice(new ChannelTaken(0));
        for (long sent = 0; sent <= uint.MaxValue; sent += ChannelOutbox.Window)
        {
            outbox.Post(s_window);
            outbox.Take();
            outbox.Notice(new ChannelTaken(taken += ChannelOutbox.Window));
        }

        outbox.Post([1]);
        Assert.That(outbox.Take(), Has.Length.EqualTo(1));
    }

    [Test]
    public void New_agent_gets_whole_requests_only()
    {
        var outbox = new ChannelOutbox();
        outbox.Post(new byte[ChannelOutbox.Window + 5]);
        outbox.Post([1, 2, 3]);
        outbox.Take();

        outbox.Notice(new ChannelReady(1, IsStart: true));

        Assert.That(outbox.Take(), Is.EqualTo((byte[])[1, 2, 3]));
    }

    [Test]
    public void Lie_about_what_was_taken_opens_the_window_no_further()
    {
        var outbox = new ChannelOutbox();
        outbox.Notice(new ChannelTaken(5_000_000));
        outbox.Post(new byte[3 * ChannelOutbox.Window]);

        Assert.That(outbox.Take(), Has.Length.EqualTo(ChannelOutbox.Window));
    }

    static readonly byte[] s_window = new byte[ChannelOutbox.Window];
}
