using Iced.Intel;
using VmLab.Core;
using VmLab.Faults;
using VmLab.Running;
using static Iced.Intel.AssemblerRegisters;

namespace VmLab.Tests;

/// <summary>Moments as files: what comes back goes on as it did, and what is not whole does not come back.</summary>
public sealed class MomentFileTests
{
    static readonly VmRef s_one;

    static readonly Fleet s_fleet = Fleet.Define("pair").Seed(5)
        .Vm("one", out s_one, vm => vm.Boot(Guest.Program(Chatter)).Memory(4.MiB).Disk("data", 64.KiB))
        .Vm("two", vm => vm.Boot(Guest.Program(Chatter)).Memory(4.MiB));

    string _folder = "";

    string Path => System.IO.Path.Combine(_folder, "there.moment");

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("vmlab-moments").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public void A_loaded_moment_goes_on_as_the_lab_that_saved_it() => OnPair(async lab =>
    {
        await lab.RunFor(25.Milliseconds);
        using Moment moment = await lab.Snapshot("there");
        moment.Save(Path);
        string expected = await Continue(lab);

        using Moment loaded = Moment.Load(Path);
        await using Lab later = await Lab.StartAsync(loaded);

        Assert.That((loaded.Name, loaded.Seed, loaded.Time), Is.EqualTo(("there", 5UL, 25.Milliseconds)));
        Assert.That(await Continue(later), Is.EqualTo(expected));
    });

    [Test]
    public void A_loaded_moment_saves_to_the_same_bytes() => OnPair(async lab =>
    {
        await lab.RunFor(25.Milliseconds);
        using Moment moment = await lab.Snapshot("there");
        moment.Save(Path);
        byte[] first = File.ReadAllBytes(Path);

        Moment.Load(Path).Save(Path);

        Assert.That(File.ReadAllBytes(Path), Is.EqualTo(first));
    });

    [Test]
    public void Faults_that_were_armed_are_in_the_file() => OnPair(async lab =>
    {
        lab.Inject(Fault.Memory(s_one).Flip().Every(3.Milliseconds));
        lab.Inject(Fault.Cpu(s_one).Stall(2.Milliseconds).When(Trigger.Console(s_one, "a")));
        lab.Inject(Fault.Power(s_one).Cut().At(50.Milliseconds));
        await lab.RunFor(25.Milliseconds);
        using Moment moment = await lab.Snapshot("there");
        moment.Save(Path);
        string expected = await Continue(lab);

        await using Lab later = await Lab.StartAsync(Moment.Load(Path));

        Assert.That(await Continue(later), Is.EqualTo(expected));
        Assert.That(later[s_one].Status, Is.EqualTo(Machines.MachineStatus.PoweredOff));
    });

    [Test]
    public void A_machine_of_a_loaded_moment_boots_again() => OnPair(async lab =>
    {
        using Moment moment = await lab.Snapshot("there");
        moment.Save(Path);
        lab[s_one].Reset();
        string expected = await Continue(lab);

        await using Lab later = await Lab.StartAsync(Moment.Load(Path));
        later[s_one].Reset();

        Assert.That(await Continue(later), Is.EqualTo(expected));
    });

    [Test]
    public void A_grown_lab_with_another_seed_draws_other_faults() => OnPair(async lab =>
    {
        lab.Inject(Fault.Memory(s_one).Flip().Every(1.Milliseconds));
        using Moment moment = await lab.Snapshot("there");

        await using Lab same = await Lab.StartAsync(moment), other = await Lab.StartAsync(moment, new LabOptions { Seed = 6 });
        await Task.WhenAll(lab.RunFor(10.Milliseconds), same.RunFor(10.Milliseconds), other.RunFor(10.Milliseconds));

        Assert.That(same.StateHash(), Is.EqualTo(lab.StateHash()));
        Assert.That(other.StateHash(), Is.Not.EqualTo(lab.StateHash()));
    });

    [Test]
    public void A_file_that_is_cut_off_is_refused() => OnPair(async lab =>
    {
        byte[] whole = await Saved(lab);
        foreach (int length in new[] { 0, 7, 55, 56, 1000, whole.Length / 2, whole.Length - 4096, whole.Length - 1 })
        {
            File.WriteAllBytes(Path, whole[..length]);
            Assert.That(() => Moment.Load(Path), Throws.TypeOf<LabException>().With.Message.Contains(Path), $"{length} of {whole.Length} bytes");
        }
    });

    [Test]
    public void A_bit_that_changes_anywhere_is_noticed() => OnPair(async lab =>
    {
        byte[] whole = await Saved(lab);
        for (int at = 0; at < whole.Length; at += at < 64 ? 1 : 997)
        {
            whole[at] ^= 0x10;
            File.WriteAllBytes(Path, whole);
            Assert.That(() => Moment.Load(Path), Throws.TypeOf<LabException>().With.Message.Contains(Path), $"byte {at}");
            whole[at] ^= 0x10;
        }
    });

    [Test]
    public void A_moment_of_another_version_says_so() => OnPair(async lab =>
    {
        byte[] whole = await Saved(lab);
        whole[8]++;
        File.WriteAllBytes(Path, whole);

        Assert.That(() => Moment.Load(Path), Throws.TypeOf<LabException>().With.Message.Contains("version 3, and this VmLab reads version 2"));
    });

    [Test]
    public void A_moment_of_another_fleet_says_which() => OnPair(async lab =>
    {
        await Saved(lab);

        Assert.That(() => Moment.Load(Path, s_fleet), Throws.Nothing);
        Assert.That(() => Moment.Load(Path, s_fleet.Seed(6)), Throws.TypeOf<LabException>().With.Message.Contains("with seed 5").And.Message.Contains("seed 6"));
    });

    [Test]
    public void A_guest_of_the_program_needs_its_fleet() => Pump.Run(async () =>
    {
        Fleet fleet = Fleet.Define("own").Vm("own", vm => vm.Boot(Guest.Of(new Own())).Memory(2.MiB));
        await using Lab lab = await Lab.StartAsync(fleet);
        (await lab.Snapshot("there")).Save(Path);

        Assert.That(() => Moment.Load(Path), Throws.TypeOf<LabException>().With.Message.Contains("give Moment.Load its fleet"));
        await using Lab later = await Lab.StartAsync(Moment.Load(Path, fleet));
        Assert.That(later.StateHash(), Is.EqualTo(lab.StateHash()));
    }, new LabOptions());

    [Test]
    public void A_file_that_cannot_be_written_leaves_the_older_one() => OnPair(async lab =>
    {
        byte[] older = await Saved(lab);
        await lab.RunFor(10.Milliseconds);
        using Moment newer = await lab.Snapshot("newer");
        Directory.CreateDirectory(Path + ".new");

        Assert.That(() => newer.Save(Path), Throws.TypeOf<LabException>().With.Message.Contains(Path));
        Assert.That(File.ReadAllBytes(Path), Is.EqualTo(older));
    });

    [Test]
    public void A_lab_at_another_time_than_its_machines_is_refused() => OnPair(async lab =>
    {
        await lab.RunFor(25.Milliseconds);
        await Saved(lab);
        MomentFile file = Read();

        (file with { Lab = file.Lab with { Nanoseconds = file.Lab.Nanoseconds + 1 } }).Write(Path, MomentOrigin.None, null);

        Assert.That(() => Moment.Load(Path), Throws.TypeOf<LabException>().With.Message.Contains("one: it has not come to the time that its lab has"));
    });

    [Test]
    public void A_fault_that_no_verb_makes_is_refused() => OnPair(async lab =>
    {
        lab.Inject(Fault.Clock(s_one).Jump(1.Seconds).At(1.Seconds));
        await Saved(lab);
        MomentFile file = Read();
        VmMoment one = file.Lab.Machines[0];
        var armed = new ArmedFault(new ClockJump("one", -1.Seconds), DueAt: 1_000_000_000);
        VmMoment damaged = one with { Faults = one.Faults with { Armed = [armed] } };

        (file with { Lab = file.Lab with { Machines = file.Lab.Machines.SetItem(0, damaged) } }).Write(Path, MomentOrigin.None, null);

        Assert.That(() => Moment.Load(Path), Throws.TypeOf<LabException>().With.Message.Contains("one: no such fault could be armed"));
    });

    MomentFile Read()
    {
        using RecordReader reader = StateFile.Open(Path, out _);
        reader.Read<MomentOrigin>();
        return MomentFile.Read(reader, new FramePool(16.MiB), earlier: null);
    }

    async Task<byte[]> Saved(Lab lab)
    {
        using Moment moment = await lab.Snapshot("there");
        moment.Save(Path);
        return File.ReadAllBytes(Path);
    }

    static async Task<string> Continue(Lab lab)
    {
        await lab.RunFor(40.Milliseconds);
        return string.Join('\n', lab.Machines.Select(vm => $"{vm.Name} {vm.StateHash:x16} {vm.Now} {vm.Status} {vm.Console.Text}"));
    }

    static void OnPair(Func<Lab, Task> script) => Pump.Run(async () =>
    {
        await using Lab lab = await Lab.StartAsync(s_fleet);
        await script(lab);
    }, new LabOptions());

    /// <summary>Draws a number, stores it, and prints a letter of it, again and again.</summary>
    internal static void Chatter(Assembler asm)
    {
        Label again = asm.CreateLabel(), spin = asm.CreateLabel();
        asm.mov(edi, 0x20_0000);
        asm.Label(ref again);
        asm.rdrand(rax);
        asm.mov(__[rdi], rax);
        asm.add(rdi, 0x1208);
        asm.and(edi, 0x2F_FFFF);
        asm.or(edi, 0x20_0000);
        asm.and(al, 0x0F);
        asm.add(al, (byte)'a');
        asm.mov(dx, 0x3F8);
        asm.@out(dx, al);
        asm.mov(ecx, 40_000);
        asm.Label(ref spin);
        asm.dec(ecx);
        asm.jnz(spin);
        asm.jmp(again);
    }

    sealed class Own : Guests.IBootable
    {
        public Guests.BootEntry Load(GuestMemory memory, Guests.BootContext context) =>
            new Guests.ProgramGuest([0xEB, 0xFE]).Load(memory, context);
    }
}
