using VmLab.Core;
using static VmLab.Tests.Scenario;

namespace VmLab.Tests;

public sealed class ConsoleTests
{
    [Test]
    public void Expect_meets_each_prompt_once() => Run(
        One(alice =>
        {
            alice.At(1.Milliseconds, () => alice.Prints("Debian\r\nlogin: "));
            alice.OnTyped = text => alice.At(alice.Now + 5_000_000, () => alice.Prints($"{text}login: "));
        }),
        async lab =>
        {
            Assert.That(await lab[Alice].Console.Expect("login: "), Is.EqualTo("Debian\nlogin: "));
            lab[Alice].Console.Send("root\n");
            Assert.That(await lab[Alice].Console.Expect("login: "), Is.EqualTo("root\nlogin: "));
            Assert.That(lab.Now, Is.EqualTo(20.Milliseconds));
        });

    [Test]
    public void Text_joins_line_ends_and_characters_that_come_apart() => Run(
        One(alice =>
        {
            alice.At(1.Milliseconds, () => alice.PrintsBytes(0xE2, 0x82));
            alice.At(15.Milliseconds, () => alice.PrintsBytes(0xAC, (byte)'\r'));
            alice.At(25.Milliseconds, () => alice.PrintsBytes((byte)'\n', (byte)'5', (byte)'%', (byte)'\r', (byte)'6'));
        }),
        async lab =>
        {
            await lab.RunFor(1.Seconds);

            Assert.That(lab[Alice].Console.Text, Is.EqualTo("€\n5%\r6"));
            Assert.That(lab[Alice].Console.Bytes, Has.Count.EqualTo(9));
        });

    [Test]
    public void The_tail_shows_no_control_characters() => Run(
        One(alice => alice.At(1.Milliseconds, () => alice.Prints("one\r\n\e[1;31mtwo\e[0m\a\tx\r\n\r\nthree"))),
        async lab =>
        {
            await lab.RunFor(1.Seconds);

            Assert.That(lab[Alice].Console.Tail(2), Is.EqualTo(new[] { "two    x", "three" }));
            Assert.That(lab[Alice].Console.LastLine, Is.EqualTo("three"));
        });

    [Test]
    public void The_console_keeps_no_more_than_its_limit() => Run(
        One(alice => alice.At(1.Milliseconds, () => alice.PrintsBytes(new byte[VmConsole.MostBytes + 1]))),
        async lab =>
        {
            await lab.RunFor(1.Seconds);

            Assert.That(lab[Alice].Console.Bytes, Has.Count.EqualTo(VmConsole.MostBytes / 4 * 3 + 1));
        });

    [Test]
    public void Memory_is_read_from_outside() => Run(
        One(alice => "\u0001\u0002\u0003\u0004\u0005\u0006\u0007\u0008hi"u8.CopyTo(alice.Memory)),
        async lab =>
        {
            await lab.RunFor(1.Milliseconds);

            VmMemory memory = lab[Alice].Memory;
            Assert.That(memory.Read64(0), Is.EqualTo(0x0807060504030201));
            Assert.That(memory.Read16(2), Is.EqualTo(0x0403));
            Assert.That(memory.ReadText(8, most: 16), Is.EqualTo("hi"));
        });
}
