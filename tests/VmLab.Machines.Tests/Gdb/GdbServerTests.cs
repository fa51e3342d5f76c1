using VmLab.Core;
using VmLab.Guests;
using VmLab.Machines.Gdb;
using static Iced.Intel.AssemblerRegisters;

namespace VmLab.Machines.Tests.Gdb;

/// <summary>A machine behind a server: what a gdb does to it, and what it does not.</summary>
public sealed class GdbServerTests : IDisposable
{
    const ulong Millisecond = 1_000_000, End = 20 * Millisecond;

    /// <summary>Counts in RCX and in memory: three instructions at 100000h, and a jump back.</summary>
    static readonly ProgramGuest s_counter = new(asm =>
    {
        var loop = asm.CreateLabel();
        asm.xor(ecx, ecx);                               // 100000
        asm.Label(ref loop);
        asm.inc(rcx);                                    // 100002
        asm.mov(__qword_ptr[Programs.Counter], rcx);     // 100005
        asm.jmp(loop);
    });

    readonly FramePool _pool = new(1.GiB);
    readonly List<string> _changes = [];
    readonly Machine _machine;
    readonly GdbServer _server;

    public GdbServerTests()
    {
        _machine = Programs.Boot(s_counter, _pool);
        _server = new GdbServer(0, waits: true, _changes.Add, () => null);
        _server.Attach(_machine);
    }

    public void Dispose()
    {
        _server.Dispose();
        _machine.Dispose();
        _pool.Dispose();
    }

    [Test]
    public void A_run_that_gdb_looks_at_is_the_run_without_gdb()
    {
        using Machine alone = Programs.Boot(s_counter, _pool);
        alone.RunUntil(End);

        Debug(gdb =>
        {
            gdb.Ask("g");
            gdb.Ask("m100000,100");
            gdb.Ask("Z0,100002,1");
            for (int i = 0; i < 10; i++) gdb.Ask("c");
            gdb.Ask("z0,100002,1");
            gdb.Ask("Z2,210000,8");
            for (int i = 0; i < 10; i++) gdb.Ask("vCont;c");
            gdb.Ask("z2,210000,8");
            for (int i = 0; i < 10; i++) gdb.Ask("s");
            gdb.Ask("D");
        });

        Assert.That((_machine.Now, _machine.StateHash()), Is.EqualTo((alone.Now, alone.StateHash())));
        Assert.That(_changes, Is.Empty);
    }

    [Test]
    public void It_waits_for_gdb_before_the_first_instruction()
    {
        string stop = "";

        Debug(gdb => stop = gdb.Ask("?"));

        Assert.That(stop, Does.StartWith("T05").And.Contain("10:0000100000000000;"));
    }

    [Test]
    public void A_breakpoint_stops_before_its_instruction_each_time()
    {
        List<string> counts = [];

        Debug(gdb =>
        {
            gdb.Ask("Z1,100005,1");
            for (int i = 0; i < 3; i++)
            {
                Assert.That(gdb.Ask("c"), Does.Contain("swbreak:;").And.Contain("10:0500100000000000;"));
                counts.Add(gdb.Ask("p2"));
            }
        });

        Assert.That(counts, Is.EqualTo(new[] { "0100000000000000", "0200000000000000", "0300000000000000" }));
    }

    [Test]
    public void A_watch_stops_behind_the_instruction_that_wrote()
    {
        Debug(gdb =>
        {
            gdb.Ask("Z2,210000,4");

            Assert.That(gdb.Ask("c"), Does.Contain("watch:210000;"));
            Assert.That(gdb.Ask("m210000,8"), Is.EqualTo("0100000000000000"));
        });
    }

    [Test]
    public void A_step_is_one_count()
    {
        string[] places = [];

        Debug(gdb => places = [.. Enumerable.Range(0, 4).Select(_ =>
        {
            gdb.Ask("s");
            return gdb.Ask("p10")[..6];
        })]);

        Assert.That(places[..2], Is.EqualTo(new[] { "020010", "050010" }));
        Assert.That(places[3], Is.EqualTo("020010"));
    }

    [Test]
    public void A_running_machine_stops_when_asked_and_runs_on()
    {
        Debug(gdb =>
        {
            gdb.SendAndInterrupt("c");
            Assert.That(gdb.Read(), Does.StartWith("T02"));
            gdb.Send("c");
        });

        Assert.That(_machine.Now, Is.EqualTo(End));
    }

    [Test]
    public void What_gdb_writes_is_there_and_is_noted()
    {
        Debug(gdb =>
        {
            Assert.That(gdb.Ask("P2=0001000000000000"), Is.EqualTo("OK"));
            gdb.Ask("M300000,2:abcd");
            gdb.Ask("P10=0500100000000000");
            gdb.Ask("s");
            Assert.That(gdb.Ask("m210000,8"), Is.EqualTo("0001000000000000"));
        });

        Assert.That(_changes, Is.EqualTo(new[] { "gdb set rcx", "gdb wrote 2 bytes at 0000000000300000", "gdb set rip" }));
    }

    [TestCase(0, "1122334455667788")]
    [TestCase(17, "d7020000")]
    [TestCase(24, "0000000000000080ff3f")]
    [TestCase(26, "0000000000000080ff3f")]
    [TestCase(32, "7f020000")]
    [TestCase(34, "ffff0000")]
    [TestCase(36, "44332211")]
    [TestCase(40, "00112233445566778899aabbccddeeff")]
    [TestCase(56, "801f0000")]
    [TestCase(57, "0000000080ffffff")]
    public void A_register_reads_as_it_was_written(int number, string value) => Debug(gdb =>
    {
        Assert.That(gdb.Ask($"P{number:x}={value}"), Is.EqualTo("OK"));
        Assert.That(gdb.Ask($"p{number:x}"), Is.EqualTo(value));
    });

    [TestCase(18, "10000000")]            // cs
    [TestCase(56, "00000100")]            // mxcsr: a reserved bit
    [TestCase(57, "0000000000000080")]    // fs_base: not canonical
    [TestCase(60, "0000000000000000")]    // cr0
    public void A_register_takes_no_value_that_would_not_do(int number, string value) =>
        Debug(gdb => Assert.That(gdb.Ask($"P{number:x}={value}"), Is.EqualTo("E16")));

    [Test]
    public void Kill_switches_the_machine_off()
    {
        Debug(gdb => gdb.Send("k"));

        Assert.That((_machine.Status, _server.IsKilled, _machine.Now), Is.EqualTo((MachineStatus.PoweredOff, true, 0UL)));
    }

    [Test]
    public void A_gdb_that_vanishes_leaves_no_breakpoint()
    {
        Debug(gdb =>
        {
            gdb.Ask("Z0,100002,1");
            gdb.Ask("c");
        });

        Assert.That(_machine.Now, Is.EqualTo(End));
    }

    [Test]
    public void Dispose_lets_a_machine_go_that_waits_for_gdb()
    {
        var running = new Thread(() => _server.RunUntil(End));
        running.Start();
        _server.Dispose();

        Assert.That(running.Join(TimeSpan.FromMinutes(1)), Is.True);
        Assert.That(_machine.Now, Is.EqualTo(End));
    }

    [Test]
    public void A_taken_port_is_refused_with_the_reason() => Assert.That(
        () => new GdbServer(_server.Port, waits: false, _ => { }, () => null),
        Throws.TypeOf<LabException>().With.Message.StartsWith($"gdb cannot be served at port {_server.Port}: "));

    [Test]
    public void Random_bytes_from_the_wire_crash_nothing()
    {
        var random = Rng.FromSeed(9);
        string[] packets = [.. Enumerable.Range(0, 200).Select(_ =>
            string.Concat(Enumerable.Range(0, 1 + (int)random.NextBelow(30)).Select(_ => (char)(33 + random.NextBelow(90)))))];

        Debug(gdb => Array.TrueForAll(packets, gdb.TrySend));

        Assert.That(_server.IsStopped, Is.False);
    }

    /// <summary>Runs the machine to its end on a thread of its own, while this one plays gdb.</summary>
    void Debug(Action<GdbClient> script)
    {
        Exception? crash = null;
        var running = new Thread(() =>
        {
            try
            {
                for (ulong time = Millisecond; time <= End; time += Millisecond) _server.RunUntil(time);
            }
            catch (Exception exception)
            {
                crash = exception;
            }
        });
        running.Start();
        try
        {
            using var gdb = new GdbClient(_server.Port);
            script(gdb);
        }
        finally   // nothing may be freed under a machine that runs
        {
            Assert.That(running.Join(TimeSpan.FromMinutes(1)), Is.True);
        }
        Assert.That(crash, Is.Null);
    }
}
