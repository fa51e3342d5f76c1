using Iced.Intel;
using VmLab.Core;
using VmLab.Machines;
using VmLab.Running;
using static Iced.Intel.AssemblerRegisters;

namespace VmLab.Tests;

/// <summary>Real machines on bare-metal guests: what the host does must not show, and what a guest does must.</summary>
public sealed class BareMetalTests
{
    const ulong Table = 0x20_0000;
    const ushort Serial = 0x3F8;

    /// <summary>Four machines unlike each other in work, memory and noise, for two checkpoints of the hash log.</summary>
    static readonly Fleet s_unequal = Fleet.Define("unequal").Seed(42)
        .Vm("draws", vm => vm.Boot(Guest.Program(asm => Chatter(asm, work: 20_000, draws: true))).Memory(4.MiB))
        .Vm("writes", vm => vm.Boot(Guest.Program(asm => Chatter(asm, work: 50_000, draws: false))).Memory(8.MiB))
        .Vm("hardly", vm => vm.Boot(Guest.Program(asm => Chatter(asm, work: 3_000_000, draws: true))).Memory(3.MiB))
        .Vm("stops", vm => vm.Boot(Guest.Program(asm => asm.hlt())).Memory(4.MiB));

    [Test]
    public void Unequal_machines_do_the_same_on_any_number_of_threads_in_any_order_beside_load()
    {
        Run reference = Record(new LabOptions { Threads = 1 });
        using var load = new HostLoad();

        Assert.That(reference.Consoles, Has.Length.GreaterThan(3000));
        Assert.That(reference.Hashes.Split('\n'), Has.Length.EqualTo(3 + 1));
        Assert.That(Record(new LabOptions { Threads = 2, ShuffleSeed = 1 }), Is.EqualTo(reference));
        Assert.That(Record(new LabOptions { Threads = 4, ShuffleSeed = 2 }), Is.EqualTo(reference));
    }

    [Test]
    public void One_bit_planted_in_a_machine_shows_in_its_hashes_alone()
    {
        Run reference = Record(new LabOptions());

        Run planted = Record(new LabOptions(), machines =>
        {
            byte[] one = new byte[1];
            machines["writes"].Memory.Ram.Read(0x30_0000, one);
            one[0] ^= 0x10;
            machines["writes"].Memory.Ram.Write(0x30_0000, one);
        });

        string[] changed = [.. planted.Hashes.Split('\n').Except(reference.Hashes.Split('\n')).Select(line => line.Split(' ')[0])];
        Assert.That(changed, Is.EqualTo(new[] { "writes" }));
    }

    [Test]
    [Platform("Linux")]
    public void What_the_engine_did_is_told_and_shows_in_no_hash()
    {
        var (translator, translated) = Counted(Engine.Translator);
        var (interpreter, interpreted) = Counted(Engine.Interpreter);

        Assert.That(translated, Is.EqualTo(interpreted));
        Assert.That(translator.TranslatedBlocks, Is.GreaterThan(0));
        Assert.That(translator.Code, Is.GreaterThan(1.KiB));
        Assert.That(translator.Exits.Sum(exit => (long)exit.Count), Is.GreaterThan(0));
        Assert.That(translator[EngineExit.Block], Is.GreaterThan(0));
        Assert.That((interpreter.TranslatedBlocks, interpreter.Code), Is.EqualTo((0UL, 0.KiB)));
        Assert.That(interpreter.Exits.Sum(exit => (long)exit.Count), Is.Zero);
        Assert.That(new[] { translator.Run, interpreter.Run }, Is.All.GreaterThan(10_000_000));
        Assert.That(new[] { translator.Mips, interpreter.Mips }, Is.All.GreaterThan(0));
    }

    [Test]
    public void Machines_held_against_the_interpreter_do_what_they_do_alone() =>
        Assert.That(Record(new LabOptions { Lockstep = 20_000 }), Is.EqualTo(Record(new LabOptions())));

    [Test]
    public void A_guest_that_triple_faults_is_told_with_its_RIP() => Pump.Run(async () =>
    {
        await using Lab lab = await Lab.StartAsync(Fleet.Define("f")
            .Vm("a", out VmRef a, vm => vm.Memory(4.MiB).Boot(Guest.Program(asm => { asm.nop(); asm.ud2(); }))));

        await Assert.ThatAsync(() => lab[a].Console.Expect("login:"),
            Throws.TypeOf<MachineStoppedException>().With.Message.Contains("it stopped at a triple fault, RIP 0000000000100001"));
        Assert.That(lab[a].Status, Is.EqualTo(MachineStatus.TripleFault));
    }, new LabOptions());

    [Test]
    public async Task A_program_without_a_pump_gets_one_for_its_lab()
    {
        TimeSpan end = default;
        await Lab.RunAsync(Fleet.Define("f").Vm("a", out VmRef a, vm => vm.Memory(4.MiB).Boot(Guest.Program(asm => asm.hlt()))),
            async lab =>
            {
                await lab[a].Stopped();
                await lab.RunFor(5.Seconds);
                end = lab.Now;
            });

        Assert.That((end, Pump.Current), Is.EqualTo((5.Seconds + 10.Milliseconds, (Pump?)null)));
    }

    [Test]
    public void A_guest_too_big_for_its_memory_is_refused() => Assert.That(
        () => Pump.Run(() => Lab.StartAsync(Fleet.Define("f")
            .Vm("a", vm => vm.Memory(1.MiB).Boot(Guest.Program(asm => asm.hlt())))), new LabOptions()),
        Throws.TypeOf<LabException>().With.Message.Contains("Give the machine more memory"));

    [Test]
    public void The_processor_is_seen_from_outside() => Pump.Run(async () =>
    {
        await using Lab lab = await Lab.StartAsync(Fleet.Define("f").Vm("a", out VmRef a, vm => vm.Memory(4.MiB)
            .Boot(Guest.Program(asm => { asm.mov(rbx, 0x1234_5678_9ABC_DEF0); asm.mov(__qword_ptr[(long)Table], rsp); asm.hlt(); }))));
        await lab[a].Stopped();

        Assert.That(lab[a].Cpu.Rbx, Is.EqualTo(0x1234_5678_9ABC_DEF0));
        Assert.That(lab[a].Memory.Read64(Table), Is.EqualTo(lab[a].Cpu.Rsp));
        Assert.That(lab[a].Exits[ExitReason.Halt], Is.EqualTo(1));
    }, new LabOptions());

    /// <summary>Prints letters for ever, with work in between whose length the seed or a running product decides.</summary>
    static void Chatter(Assembler asm, uint work, bool draws)
    {
        Label again = asm.CreateLabel(), spin = asm.CreateLabel();
        asm.mov(rbx, 0x9E37_79B9_7F4A_7C15);
        asm.mov(rdi, Table);
        asm.Label(ref again);
        if (draws) asm.rdrand(rax);
        else asm.rdtsc();
        asm.imul(rbx, rax);
        asm.add(rbx, 1);
        asm.mov(__[rdi], rbx);
        asm.add(edi, 8);
        asm.and(edi, (int)Table | 0xFFFF);
        asm.mov(eax, ebx);
        asm.shr(eax, 8);
        asm.and(eax, 15);
        asm.add(al, (byte)'a');
        asm.mov(dx, Serial);
        asm.@out(dx, al);
        asm.movzx(ecx, bl);
        asm.add(ecx, (int)work);
        asm.Label(ref spin);
        asm.dec(ecx);
        asm.jnz(spin);
        asm.jmp(again);
    }

    static (EngineCounters Counters, ulong Hash) Counted(Engine engine)
    {
        EngineCounters? counters = null;
        ulong hash = 0;
        Pump.Run(async () =>
        {
            await using Lab lab = await Lab.StartAsync(s_unequal);
            await lab.RunFor(20.Milliseconds);
            (counters, hash) = (lab["writes"].Engine, lab["writes"].StateHash);
        }, new LabOptions { Engine = engine });
        return (counters!, hash);
    }

    static Run Record(LabOptions options, Action<Dictionary<string, Machine>>? plant = null)
    {
        string path = Path.Combine(TestContext.CurrentContext.WorkDirectory, $"unequal-{Guid.NewGuid():N}.txt");
        string consoles = "";
        var machines = new Dictionary<string, Machine>();
        Pump.Run(async () =>
        {
            await using Lab lab = await Lab.StartAsync(s_unequal, null, (config, pool, moment) =>
            {
                IMachine machine = PcMachine.Build(config, pool, moment);
                machines[config.Name] = machine.Pc;
                return machine;
            });
            await lab.RunFor(60.Milliseconds);
            plant?.Invoke(machines);
            await lab.RunFor(50.Milliseconds);
            foreach (Vm vm in lab.Machines) consoles += $"{vm.Name} {vm.StateHash:x16} {vm.Console.Text}\n";
        }, options with { Hashes = path });
        string hashes = File.ReadAllText(path);
        File.Delete(path);
        return new Run(consoles, hashes);
    }

    sealed record Run(string Consoles, string Hashes);
}
