using CsCheck;
using VmLab.Core;

namespace VmLab.Guests.Tests.Linux;

/// <summary>Kernels that are moved to an address of the seed's choice.</summary>
public sealed class KaslrTests
{
    const ulong Alignment = 0x20_0000;
    const int LoadFlags = 0x211, CommandLine = 0x228, Quad = 8, Inverse = 100, Long = 1001;

    static readonly byte[] s_kernel = Packed([Quad], [Inverse], [Long]);

    [Test]
    public void Every_address_in_the_kernel_moves_as_far_as_the_kernel_does_in_its_address_space()
    {
        var moved = new HashSet<ulong>();
        for (ulong seed = 0; seed < 10; seed++)
        {
            using var machine = new TestMachine(16.MiB);
            BootEntry entry = machine.Load(new LinuxGuest(s_kernel, [], ""), seed);

            ulong distance = (uint)(Word(machine, entry, Long, 4) - Linked(Long, 4));
            Assert.That(Word(machine, entry, Quad, 8) - Linked(Quad, 8), Is.EqualTo(distance));
            Assert.That((uint)(Linked(Inverse, 4) - Word(machine, entry, Inverse, 4)), Is.EqualTo(distance));
            Assert.That(distance % Alignment, Is.Zero);
            Assert.That(distance, Is.LessThan(1.GiB.Bytes - TestKernel.LoadAddress));
            Assert.That(Word(machine, entry, 200, 8), Is.EqualTo(Linked(200, 8)));
            moved.Add(distance);
        }
        Assert.That(moved, Has.Count.GreaterThan(5));
    }

    [Test]
    public void Kernel_lies_anywhere_in_memory_but_over_the_initramfs()
    {
        byte[] initrd = TestKernel.Gzip(new byte[100]);
        var starts = new HashSet<ulong>();
        for (ulong seed = 0; seed < 60; seed++)
        {
            using var machine = new TestMachine(8.MiB);
            BootEntry entry = machine.Load(new LinuxGuest(s_kernel, initrd, ""), seed);
            starts.Add(entry.Rip - TestKernel.Entry + TestKernel.LoadAddress);
        }

        Assert.That(starts, Is.EquivalentTo((ulong[])[2.MiB.Bytes, 4.MiB.Bytes, 6.MiB.Bytes]));
    }

    [Test]
    public void Kernel_fits_where_it_just_fits()
    {
        using var machine = new TestMachine(new ByteSize(TestKernel.LoadAddress + TestKernel.InitSize));

        Assert.That(machine.Load(new LinuxGuest(s_kernel, [], "")).Rip, Is.EqualTo(TestKernel.Entry));
    }

    [Test]
    public void Kernel_is_told_that_it_was_moved()
    {
        using var machine = new TestMachine(16.MiB);

        Assert.That(Flags(machine, new LinuxGuest(s_kernel, [], "")), Is.EqualTo(3));
        Assert.That(Flags(machine, new LinuxGuest(s_kernel, [], "quiet nokaslr")), Is.EqualTo(1));
        Assert.That(Flags(machine, new LinuxGuest(TestKernel.BzImage(), [], "")), Is.EqualTo(1));
    }

    [TestCase("")]
    [TestCase("nokaslr")]
    public void Nothing_moves_without_KASLR(string commandLine)
    {
        using var machine = new TestMachine(16.MiB);

        BootEntry entry = machine.Load(new LinuxGuest(s_kernel, [], commandLine) { Kaslr = Kaslr.Off }, seed: 3);

        Assert.That(entry.Rip, Is.EqualTo(TestKernel.Entry));
        Assert.That(Word(machine, entry, Long, 4), Is.EqualTo(Linked(Long, 4)));
        Assert.That(
            machine.Bytes(machine.Number(entry.Rsi + CommandLine, 4), 8), Is.EqualTo("nokaslr\0"u8.ToArray()));
    }

    [Test]
    public void Kernel_of_Linux_6_15_has_no_inverse_relocations()
    {
        using var machine = new TestMachine(16.MiB);

        BootEntry entry = machine.Load(new LinuxGuest(Packed([Quad], [Long]), [], ""), seed: 2);

        ulong distance = Word(machine, entry, Quad, 8) - Linked(Quad, 8);
        Assert.That(distance, Is.GreaterThan(0));
        Assert.That(Word(machine, entry, Long, 4), Is.EqualTo((uint)(Linked(Long, 4) + distance)));
    }

    [Test]
    public void Kernel_that_cannot_be_moved_is_refused_when_it_must_be()
    {
        using var machine = new TestMachine(16.MiB);

        Assert.That(
            () => machine.Load(new LinuxGuest(TestKernel.BzImage(), [], "", "vmlinuz") { Kaslr = Kaslr.Seeded }),
            Refused.Saying("vmlinuz cannot be moved", "CONFIG_RANDOMIZE_BASE"));
        Assert.That(
            () => machine.Load(new LinuxGuest(TestKernel.Vmlinux(), [], "") { Kaslr = Kaslr.Seeded }),
            Refused.Saying("a bare vmlinux"));
        Assert.That(
            () => machine.Load(new LinuxGuest(s_kernel, [], "nokaslr") { Kaslr = Kaslr.Seeded }),
            Refused.Saying("says nokaslr"));
    }

    [Test]
    public void Relocation_outside_the_kernel_is_refused()
    {
        using var machine = new TestMachine(16.MiB);
        byte[] kernel = Packed([], [], [TestKernel.SegmentSize + TestKernel.BssSize - 3]);

        Assert.That(
            () => machine.Load(new LinuxGuest(kernel, [], "", "vmlinuz")),
            Refused.Saying("vmlinuz is a damaged Linux kernel"));
    }

    [Test]
    public void Damaged_kernel_never_gives_more_than_a_message() =>
        Damage.Of(TestKernel.Relocatable([Quad], [Inverse], [Long])).Sample(kernel => Damage.IsRefusedAtMost(() =>
        {
            using var machine = new TestMachine(16.MiB);
            machine.Load(new LinuxGuest(TestKernel.BzImage(TestKernel.Gzip(kernel)), [], ""));
        }));

    static byte[] Packed(params int[][] places) => TestKernel.BzImage(TestKernel.Gzip(TestKernel.Relocatable(places)));

    static ulong Flags(TestMachine machine, LinuxGuest guest) =>
        machine.Number(machine.Load(guest).Rsi + LoadFlags, 1);

    /// <summary>A number in the kernel, by its offset in the segment.</summary>
    static ulong Word(TestMachine machine, BootEntry entry, int offset, int size) =>
        machine.Number(entry.Rip - TestKernel.Entry + TestKernel.LoadAddress + (ulong)offset, size);

    static ulong Linked(int offset, int size) =>
        BitConverter.ToUInt64(TestKernel.Vmlinux(), 120 + offset) & ulong.MaxValue >> (64 - 8 * size);
}
