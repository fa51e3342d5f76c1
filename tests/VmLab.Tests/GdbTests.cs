using VmLab.Core;
using VmLab.Machines;
using VmLab.Machines.Gdb;
using VmLab.Machines.Tests.Gdb;
using static Iced.Intel.AssemblerRegisters;

namespace VmLab.Tests;

/// <summary>A lab, one of whose machines gdb looks at.</summary>
public sealed class GdbTests
{
    const string LoopAt = "100002";

    static readonly Guest s_counter = Guest.Program(asm =>
    {
        var loop = asm.CreateLabel();
        asm.xor(ecx, ecx);
        asm.Label(ref loop);
        asm.inc(rcx);
        asm.mov(__qword_ptr[0x21_0000], rcx);
        asm.jmp(loop);
    });

    static readonly Fleet s_two = Fleet.Define("two").Seed(3)
        .Vm("alice", vm => vm.Boot(s_counter).Memory(4.MiB)).Vm("bob", vm => vm.Boot(s_counter).Memory(4.MiB));

    [Test]
    public void A_lab_that_gdb_looks_at_is_the_lab_without_gdb()
    {
        string Record(Action<Lab> prepare)
        {
            string record = "";
            Run(async lab =>
            {
                prepare(lab);
                await lab.RunFor(30.Milliseconds);
                record = $"{lab.StateHash():x16}\n{string.Join('\n', lab.Timeline)}";
            });
            return record;
        }
        Thread? gdb = null;

        string debugged = Record(lab => gdb = Play(lab["bob"].Gdb(waits: true), client =>
        {
            client.Ask($"Z0,{LoopAt},1");
            for (int i = 0; i < 5; i++) client.Ask("c");
            client.Ask("s");
            client.Ask("m210000,8");
            client.Ask("D");
        }));

        Assert.That(debugged, Is.EqualTo(Record(_ => { })));
        gdb!.Join();
    }

    [Test]
    public void What_gdb_writes_is_in_the_timeline_at_its_time() => Run(async lab =>
    {
        Thread gdb = Play(lab["bob"].Gdb(waits: true), client =>
        {
            client.Ask($"Z0,{LoopAt},1");
            client.Ask("c");
            client.Ask("P0=1122334455667788");
            client.Ask("D");
        });

        await lab.RunFor(10.Milliseconds);

        Assert.That(lab.Timeline[^1].ToString(), Is.EqualTo("   0.000000 s  bob       gdb set rax"));
        gdb.Join();
    });

    [Test]
    public void Kill_ends_every_await_of_the_lab() => Run(async lab =>
    {
        Thread gdb = Play(lab["alice"].Gdb(waits: true), client => client.Send("k"));

        await Assert.ThatAsync(() => lab["alice"].Console.Expect("never"), Throws.InstanceOf<OperationCanceledException>());
        Assert.That((lab.IsKilledByGdb, lab["alice"].Status, lab["bob"].Status),
            Is.EqualTo((true, MachineStatus.PoweredOff, MachineStatus.Running)));
        gdb.Join();
    });

    [Test]
    public void A_request_to_stop_ends_a_lab_that_gdb_holds()
    {
        using var stop = new CancellationTokenSource();
        Run(async lab =>
        {
            Thread gdb = Play(lab["alice"].Gdb(waits: true), client =>
            {
                client.Ask("?");
                stop.Cancel();
                client.Read();
            });

            await Assert.ThatAsync(() => lab.RunFor(1.Seconds), Throws.InstanceOf<OperationCanceledException>());
            gdb.Join();
        }, new LabOptions { Stop = stop.Token });
    }

    [Test]
    public void Gdb_is_told_when_the_machine_is_switched_off() => Run(async lab =>
    {
        string told = "";
        Thread gdb = Play(lab["alice"].Gdb(waits: true), client => told = client.Ask("c"));
        await lab.RunFor(10.Milliseconds);

        lab["alice"].PowerOff();

        gdb.Join();
        Assert.That(told, Is.EqualTo("W00"));
    });

    [TestCase("1234", null, 1234)]
    [TestCase("alice:0", "alice", 0)]
    public void The_option_names_a_machine_and_a_port(string text, string? machine, int port) =>
        Assert.That(GdbOption.Parse(text), Is.EqualTo(new GdbOption(machine, port)));

    [TestCase("")]
    [TestCase("alice")]
    [TestCase(":1234")]
    [TestCase("alice:65536")]
    [TestCase("-1")]
    public void Another_option_is_refused(string text) => Assert.That(() => GdbOption.Parse(text), Throws.TypeOf<LabException>());

    [Test]
    public void A_machine_is_served_once() => Run(lab =>
    {
        int port = lab["alice"].Gdb().Port;

        Assert.That(() => lab["alice"].Gdb(), Throws.TypeOf<LabException>().With.Message.Contains($"at port {port}"));
        return Task.CompletedTask;
    });

    static void Run(Func<Lab, Task> script, LabOptions? options = null) => Pump.Run(async () =>
    {
        await using Lab lab = await Lab.StartAsync(s_two);
        await script(lab);
    }, options ?? new LabOptions());

    static Thread Play(GdbServer server, Action<GdbClient> script)
    {
        var playing = new Thread(() =>
        {
            using var client = new GdbClient(server.Port);
            script(client);
        });
        playing.Start();
        return playing;
    }
}
