using System.Text;
using System.Xml.Linq;
using CsCheck;
using VmLab.Machines.Gdb;

namespace VmLab.Machines.Tests.Gdb;

/// <summary>Source: Debugging with GDB, appendix E.2 "Packets", E.3 "Stop Reply Packets", E.4 "General Query Packets".</summary>
public sealed class GdbSessionTests
{
    readonly FakeTarget _target = new();

    [TestCase("?", "T0506:0600000000000000;07:0700000000000000;10:1000000000000000;thread:01;")]
    [TestCase("p0", "0000000000000000")]
    [TestCase("p11", "11000000")]
    [TestCase("p38", "38000000")]
    [TestCase("p42", "E16")]
    [TestCase("pfffffffffffffffff", "E16")]
    [TestCase("m1001,4", "01020304")]
    [TestCase("m1ffe,10", "feff")]
    [TestCase("m2000,1", "E0e")]
    [TestCase("mffffffffffffffff,ffffffffffffffff", "E0e")]
    [TestCase("m1000", "E16")]
    [TestCase("m1000,0", "")]
    [TestCase("H c-1", "OK")]
    [TestCase("vCont?", "vCont;c;C;s;S")]
    [TestCase("vMustReplyEmpty", "")]
    [TestCase("qfThreadInfo", "m1")]
    [TestCase("qsThreadInfo", "l")]
    [TestCase("qC", "QC1")]
    [TestCase("qAttached", "1")]
    [TestCase("qOffsets", "")]
    [TestCase("qRcmd,696e666f", "616c6c2069732077656c6c0a")]
    [TestCase("qRcmd,zz", "E16")]
    [TestCase("qXfer:features:read:target.xml:fffff,10", "l")]
    [TestCase("qXfer:features:read:other.xml:0,10", "E00")]
    [TestCase("Z9,1000,1", "")]
    [TestCase("Z2,1000,0", "E16")]
    [TestCase("Z2,1000,ffffffff", "E16")]
    [TestCase("R00", "")]
    [TestCase("", "")]
    public void A_request_has_an_answer(string request, string answer) => Assert.That(Answers(request), Is.EqualTo(new[] { answer }));

    [Test]
    public void The_kernels_place_is_told_as_that_of_its_first_segment()
    {
        _target.Text = 0xFFFF_FFFF_9A20_0000;

        Assert.That(Answers("qOffsets"), Is.EqualTo(new[] { "TextSeg=ffffffff9a200000" }));
    }

    [Test]
    public void Memory_is_written_as_digits_and_as_bytes()
    {
        Assert.That(Answers("M1002,2:aabb", "X1004,2:}\u0003\u00fe", "M1002,3:aabb", "M1fff,2:aabb"), Is.EqualTo(new[] { "OK", "OK", "E16", "E0e" }));
        Assert.That(_target.Memory[2..6], Is.EqualTo(new byte[] { 0xAA, 0xBB, 0x23, 0xFE }));
    }

    [Test]
    public void A_register_is_written_whole_or_not()
    {
        Assert.That(Answers("P0=0102030405060708", "P0=0102", "P3c=0000000000000000", "P0"), Is.EqualTo(new[] { "OK", "E16", "E16", "E16" }));
        Assert.That(_target.Done, Is.EqualTo(new[] { "rax=0102030405060708" }));
    }

    [Test]
    public void Of_all_registers_those_that_changed_are_written()
    {
        string all = Answers("g").Single();

        Assert.That(Answers("G" + all, "Gff" + all[2..], "G00"), Is.EqualTo(new[] { "OK", "OK", "E16" }));
        Assert.That(_target.Done, Is.EqualTo(new[] { "rax=ff00000000000000" }));
    }

    [Test]
    public void Stops_are_added_and_removed()
    {
        Answers("Z0,1234,1", "Z1,1234,1", "Z2,1000,8", "Z3,1000,8", "Z4,1000,8", "z0,1234,1");

        Assert.That(_target.Done, Is.EqualTo(new[]
        {
            "add Execute 1234 1", "add Execute 1234 1", "add Write 1000 8", "add Read 1000 8", "add Access 1000 8", "remove Execute 1234 1",
        }));
    }

    [TestCase("c", Resume.Continue)]
    [TestCase("C05", Resume.Continue)]
    [TestCase("s", Resume.Step)]
    [TestCase("vCont;c", Resume.Continue)]
    [TestCase("vCont;s:1;c", Resume.Step)]
    [TestCase("D", Resume.Detach)]
    [TestCase("k", Resume.Kill)]
    [TestCase("vKill;1", Resume.Kill)]
    public void What_lets_the_machine_go_ends_the_serving(string request, Resume expected)
    {
        using var wire = Wire.With(request, "?");

        Assert.That(new GdbSession(new PacketStream(wire), _target).Serve(new Stop(StopCause.Request)), Is.EqualTo(expected));
        Assert.That(wire.Sent, Does.Not.Contain("T05"));
    }

    [Test]
    public void An_address_to_go_on_from_is_RIP()
    {
        Answers("c1234");

        Assert.That(_target.Done, Is.EqualTo(new[] { "rip=3412000000000000" }));
    }

    [TestCase(StopCause.Breakpoint, StopKind.Execute, "T05", "swbreak:;")]
    [TestCase(StopCause.Watch, StopKind.Write, "T05", "watch:1234;")]
    [TestCase(StopCause.Watch, StopKind.Read, "T05", "rwatch:1234;")]
    [TestCase(StopCause.Watch, StopKind.Access, "T05", "awatch:1234;")]
    [TestCase(StopCause.Request, StopKind.Execute, "T02", "thread:01;")]
    [TestCase(StopCause.PoweredOff, StopKind.Execute, "W00", "")]
    [TestCase(StopCause.Crashed, StopKind.Execute, "X0b", "")]
    public void A_stop_that_gdb_waits_for_is_told_with_its_reason(StopCause cause, StopKind kind, string starts, string contains)
    {
        using var wire = Wire.With("QStartNoAckMode", "c");
        var session = new GdbSession(new PacketStream(wire), _target);
        session.Serve(new Stop(StopCause.Request));

        session.Serve(new Stop(cause, kind, 0x1234));

        Assert.That(wire.Sent[wire.Sent.LastIndexOf('$')..], Does.StartWith($"${starts}").And.Contain(contains));
    }

    [Test]
    public void The_description_can_be_read_in_pieces_and_names_every_register_once()
    {
        string xml = "";
        for (string piece = "m"; piece[0] == 'm'; xml += piece[1..])
            piece = Answers($"qXfer:features:read:target.xml:{xml.Length:x},200").Single();

        Assert.That(
            XDocument.Parse(xml).Descendants("reg").Select(register => $"{register.Attribute("name")!.Value}:{register.Attribute("bitsize")!.Value}"),
            Is.EqualTo(TargetDescription.Registers.Select(register => $"{register.Name}:{register.Bits}")));
        Assert.That(TargetDescription.Registers.Select(register => register.Name), Is.Unique);
    }

    [Test]
    public void Random_packets_never_crash_a_session()
    {
        string[] commands =
        [
            "?", "g", "G", "p", "P", "m", "M", "X", "Z0,", "z2,", "H", "T", "c", "s", "C", "v", "vCont;", "vKill", "q", "qRcmd,",
            "qXfer:features:read:target.xml:", "Q", "qOffsets", "D", "R", "!", "b", "i",
        ];
        Gen<string> command = Gen.Int[0, commands.Length - 1].Select(i => commands[i]);
        Gen<string> argument = Gen.Char["0123456789abcdefABCDEF,:;=#$}*+-\u0003\u0000\u00ff"].Array[0, 40].Select(text => new string(text));
        Gen.Select(command, argument).Array[1, 20].Sample(packets =>
        {
            using var wire = new Wire(Encoding.Latin1.GetBytes(string.Concat(packets.Select(packet => GdbClient.Framed(packet.Item1 + packet.Item2)))));
            var session = new GdbSession(new PacketStream(wire), _target);
            for (Resume resume = default; resume != Resume.Detach;) resume = session.Serve(new Stop(StopCause.Step));
        }, iter: 5_000, threads: 1);
    }

    /// <summary>What a session answers to requests, one after another.</summary>
    string[] Answers(params string[] requests)
    {
        using var wire = Wire.With(["QStartNoAckMode", .. requests]);
        new GdbSession(new PacketStream(wire), _target).Serve(new Stop(StopCause.Request));
        return [.. wire.Sent.Split('$')[2..].Select(answer => answer[..answer.LastIndexOf('#')])];
    }
}
