using VmLab.Core;
using VmLab.Devices.Virtio;

namespace VmLab.Devices.Tests.Virtio;

/// <summary>The entropy device, the console and the balloon.</summary>
public sealed class SmallVirtioTests
{
    const ulong Split = ulong.MaxValue & ~VirtioDriver.Packed;

    [Test]
    public void Entropy_is_the_seeds_and_goes_on()
    {
        VirtioDriver driver = Start(NewEntropy);
        Piece first = driver.In(20), second = driver.In(20);
        Assert.That((driver.Do(0, first), driver.Do(0, second)), Is.EqualTo((20u, 20u)));

        VirtioDriver again = Start(NewEntropy);
        Piece same = again.In(20);
        again.Do(0, same);
        Assert.That(again.Bytes(same), Is.EqualTo(driver.Bytes(first)).And.Not.EqualTo(driver.Bytes(second)));
    }

    [Test]
    public void Entropy_in_one_buffer_is_limited()
    {
        VirtioDriver driver = Start(NewEntropy);
        Assert.That(driver.Do(0, driver.In(5000)), Is.EqualTo(VirtioEntropy.MostBytes));
    }

    [Test]
    public void Console_hands_bytes_both_ways()
    {
        VirtioDriver driver = Start(NewConsole);
        var console = (VirtioConsole)driver.Device;
        var sent = new List<byte>();
        console.Sent = bytes => sent.AddRange(bytes.Span);
        driver.Do(1, driver.Out("hello"u8.ToArray()));
        Piece buffer = driver.In(4);
        driver.Queue(0).Add(buffer);
        driver.Kick(0);
        console.Receive("abcdef"u8);
        driver.Settle();

        Assert.That(sent, Is.EqualTo("hello"u8.ToArray()));
        Assert.That(driver.Bytes(buffer), Is.EqualTo("abcd"u8.ToArray()));
        Assert.That(console.Save().Received, Is.EqualTo("ef"u8.ToArray()), "what had no room waits");
    }

    [Test]
    public void Console_takes_as_much_as_there_is_room_for()
    {
        var console = (VirtioConsole)Start(NewConsole).Device;
        Assert.That((console.Receive(new byte[VirtioConsole.MostWaiting - 1]), console.Receive(new byte[9])), Is.EqualTo((65_535, 1)));
    }

    [Test]
    public void Balloon_asks_and_counts()
    {
        VirtioDriver driver = Start(NewBalloon);
        var balloon = (VirtioBalloon)driver.Device;
        balloon.Target = 3;
        Assert.That((driver.Read(VirtioDriver.Config, 4), driver.Read(VirtioDriver.InterruptStatus, 1)), Is.EqualTo((3UL, 2UL)));

        driver.Do(0, driver.Out(new byte[12]));
        driver.Do(1, driver.Out(new byte[4]));
        driver.Write(VirtioDriver.Config + 4, 4, 2);
        Assert.That((balloon.Inflated, balloon.Deflated, balloon.Actual), Is.EqualTo((3UL, 1UL, 2u)));
    }

    [Test]
    public void Balloon_takes_whole_page_numbers()
    {
        VirtioDriver driver = Start(NewBalloon);
        driver.Queue(0).Add(driver.Out(new byte[5]));
        driver.Kick(0);
        driver.Settle();
        Assert.That(driver.Device.Transport.Malformed, Is.EqualTo(1));
    }

    [Test]
    public void Restored_entropy_behaves_as_the_saved_one() => Laws.RestoredBehavesAsSaved(
        () => VirtioBench.Of<VirtioEntropy.State>(NewEntropy, Split), VirtioBench.Pokes(0x40));

    [Test]
    public void Restored_console_behaves_as_the_saved_one() => Laws.RestoredBehavesAsSaved(
        () => VirtioBench.Of<VirtioConsole.State>(NewConsole, Split, FeedConsole), VirtioBench.Pokes(0x40));

    [Test]
    public void Restored_balloon_behaves_as_the_saved_one() => Laws.RestoredBehavesAsSaved(
        () => VirtioBench.Of<VirtioBalloon.State>(NewBalloon, Split, Ask), VirtioBench.Pokes(0x40));

    [Test]
    public void Console_bears_anything() => Laws.BearsAnything(
        () => VirtioBench.Of<VirtioConsole.State>(NewConsole, ulong.MaxValue, FeedConsole), VirtioBench.Pokes(0x4000));

    [Test]
    public void Balloon_bears_anything() => Laws.BearsAnything(
        () => VirtioBench.Of<VirtioBalloon.State>(NewBalloon, ulong.MaxValue, Ask), VirtioBench.Pokes(0x4000));

    [Test]
    public void Entropy_bears_anything() => Laws.BearsAnything(
        () => VirtioBench.Of<VirtioEntropy.State>(NewEntropy, ulong.MaxValue), VirtioBench.Pokes(0x4000));

    static VirtioEntropy NewEntropy(VirtioBoard board) => new(board, Rng.FromSeed(3));
    static VirtioConsole NewConsole(VirtioBoard board) => new(board);
    static VirtioBalloon NewBalloon(VirtioBoard board) => new(board);

    static void FeedConsole(VirtioDevice device, Poke poke) =>
        ((VirtioConsole)device).Receive(BitConverter.GetBytes(poke.Value));

    static void Ask(VirtioDevice device, Poke poke) => ((VirtioBalloon)device).Target = (uint)poke.Value;

    static VirtioDriver Start(Func<VirtioBoard, VirtioDevice> build)
    {
        VirtioDriver driver = new VirtioDriver(build).Negotiate(Split);
        for (int i = 0; i < (int)driver.Read(0x12, 2); i++) driver.WithQueue(i);
        return driver.Ready();
    }
}
