using System.Text;
using CsCheck;
using VmLab.Core;
using VmLab.Guests.Initramfs;

namespace VmLab.Guests.Tests.Linux;

public sealed class LinuxGuestTests
{
    // Offsets in boot_params, from Documentation/x86/zero-page.rst.
    const int AcpiRoot = 0x70, RangeCount = 0x1E8, BootFlag = 0x1FE, Magic = 0x202, LoaderType = 0x210,
              InitrdAddress = 0x218,
              InitrdSize = 0x21C, CommandLine = 0x228, SetupData = 0x250, Ranges = 0x2D0;

    static readonly byte[] s_initrd = Initrd();

    readonly TestMachine _machine = new(16.MiB);

    [OneTimeTearDown]
    public void Free() => _machine.Dispose();

    [Test]
    public void Kernel_lies_where_it_was_linked_and_starts_at_its_entry()
    {
        BootEntry entry = _machine.Load(new LinuxGuest(TestKernel.BzImage(), [], "console=ttyS0"));

        Assert.That(entry.Mode, Is.EqualTo(BootMode.Long64));
        Assert.That(entry.Rip, Is.EqualTo(TestKernel.Entry));
        Assert.That(
            _machine.Bytes(TestKernel.LoadAddress, TestKernel.SegmentSize), Is.EqualTo(TestKernel.Vmlinux()[120..]));
        Assert.That(_machine.Bytes(TestKernel.LoadAddress + TestKernel.SegmentSize, TestKernel.BssSize), Is.All.Zero);
    }

    [Test]
    public void Bare_vmlinux_loads_as_well()
    {
        BootEntry entry = _machine.Load(new LinuxGuest(TestKernel.Vmlinux(), [], "console=ttyS0"));

        Assert.That(entry.Rip, Is.EqualTo(TestKernel.Entry));
        Assert.That(Parameter(entry, BootFlag, 2), Is.EqualTo(0xAA55));
        Assert.That(_machine.Bytes(entry.Rsi + Magic, 4), Is.EqualTo("HdrS"u8.ToArray()));
    }

    [Test]
    public void Decompressor_is_entered_at_its_64_bit_entry()
    {
        byte[] image = TestKernel.BzImage();

        BootEntry entry = _machine.Load(new LinuxGuest(image, [], "") { Unpacking = KernelUnpacking.InGuest });

        Assert.That(entry.Rip, Is.EqualTo(TestKernel.LoadAddress + 0x200));
        Assert.That(_machine.Bytes(TestKernel.LoadAddress, image.Length - 2048), Is.EqualTo(image[2048..]));
    }

    [Test]
    public void Boot_parameters_carry_the_kernels_own_header_and_the_loaders_answers()
    {
        BootEntry entry = _machine.Load(new LinuxGuest(TestKernel.BzImage(), s_initrd, "console=ttyS0 quiet"));

        ulong initrd = Parameter(entry, InitrdAddress, 4), size = Parameter(entry, InitrdSize, 4);
        Assert.That(_machine.Bytes(entry.Rsi + Magic, 4), Is.EqualTo("HdrS"u8.ToArray()));
        Assert.That(Parameter(entry, LoaderType, 1), Is.EqualTo(0xFF));
        Assert.That(
            _machine.Bytes(Parameter(entry, CommandLine, 4), 20), Is.EqualTo("console=ttyS0 quiet\0"u8.ToArray()));
        Assert.That(_machine.Bytes(initrd, (int)size), Is.EqualTo(s_initrd));
        Assert.That(initrd % 4096, Is.Zero);
        Assert.That(initrd + size, Is.LessThanOrEqualTo(16.MiB.Bytes).And.GreaterThan(16.MiB.Bytes - 4096 - size));
    }

    [Test]
    public void Memory_map_leaves_out_the_legacy_hole_and_the_configuration_window()
    {
        BootEntry entry = _machine.Load(new LinuxGuest(TestKernel.BzImage(), [], ""));

        Assert.That(Map(entry), Is.EqualTo((ulong[])
        [
            0, 0xA_0000, 1,
            0xA_0000, 0x6_0000, 2,
            0x10_0000, 15.MiB.Bytes, 1,
            0xE000_0000, 256.MiB.Bytes, 2,
        ]));
    }

    [Test]
    public void Memory_above_4_GiB_is_told()
    {
        using var machine = new TestMachine(5.GiB);

        BootEntry entry = machine.Load(new LinuxGuest(TestKernel.BzImage(), [], ""));

        ulong last = entry.Rsi + Ranges + 4 * 20;
        Assert.That(machine.Number(entry.Rsi + RangeCount, 1), Is.EqualTo(5));
        Assert.That(machine.Number(last, 8), Is.EqualTo(GuestMemory.HighBase));
        Assert.That(machine.Number(last + 8, 8), Is.EqualTo(2.GiB.Bytes));
    }

    [Test]
    public void Acpi_root_is_where_the_parameters_say()
    {
        BootEntry entry = _machine.Load(new LinuxGuest(TestKernel.BzImage(), [], ""));

        ulong root = Parameter(entry, AcpiRoot, 8);
        Assert.That(_machine.Bytes(root, 8), Is.EqualTo("RSD PTR "u8.ToArray()));
        Assert.That(root, Is.InRange(0xE_0000, 0xF_FFFF));
    }

    [Test]
    public void Segments_are_those_of_the_boot_protocol()
    {
        BootEntry entry = _machine.Load(new LinuxGuest(TestKernel.BzImage(), [], ""));

        Assert.That(entry.CodeSelector, Is.EqualTo(0x10));
        Assert.That(entry.DataSelector, Is.EqualTo(0x18));
        Assert.That(entry.GdtLimit, Is.EqualTo(31));
        Assert.That(_machine.Number(entry.GdtBase + 0x10, 8), Is.EqualTo(0x00AF_9B00_0000_FFFF));
        Assert.That(_machine.Number(entry.GdtBase + 0x18, 8), Is.EqualTo(0x00CF_9300_0000_FFFF));
    }

    [Test]
    public void First_4_GiB_are_mapped_as_they_are()
    {
        BootEntry entry = _machine.Load(new LinuxGuest(TestKernel.BzImage(), [], ""));

        Gen.ULong[0, uint.MaxValue].Sample(address => Walk(entry.Cr3, address) == address);
    }

    [Test]
    public void Seed_decides_the_kernels_random_numbers_and_nothing_else_does()
    {
        using var first = new TestMachine(16.MiB);
        using var second = new TestMachine(16.MiB);
        using var other = new TestMachine(16.MiB);
        var guest = new LinuxGuest(TestKernel.BzImage(), s_initrd, "console=ttyS0");

        ulong data = first.Number(first.Load(guest, seed: 1).Rsi + SetupData, 8);
        second.Load(guest, seed: 1);
        other.Load(guest, seed: 2);

        Assert.That(first.Number(data + 8, 4), Is.EqualTo(9));
        Assert.That(first.Number(data + 12, 4), Is.EqualTo(32));
        Assert.That(second.Memory.Hash(), Is.EqualTo(first.Memory.Hash()));
        Assert.That(other.Bytes(data + 16, 32), Is.Not.EqualTo(first.Bytes(data + 16, 32)));
        Assert.That(other.Memory.Hash(), Is.Not.EqualTo(first.Memory.Hash()));
    }

    [Test]
    public void Too_little_memory_names_what_is_needed_and_given()
    {
        using var small = new TestMachine(2.MiB);

        Assert.That(
            () => small.Load(new LinuxGuest(TestKernel.BzImage(), s_initrd, "", "vmlinuz")),
            Refused.Saying("needs at least 2.5", "the machine has 2 MiB"));
    }

    [Test]
    public void Command_line_that_the_kernel_would_cut_is_refused() =>
        Assert.That(
            () => _machine.Load(new LinuxGuest(TestKernel.BzImage(), [], new string('x', 256))),
            Refused.Saying("has 256 characters, and the kernel takes 255"));

    [Test]
    public void Command_line_in_another_alphabet_is_refused() =>
        Assert.That(
            () => _machine.Load(new LinuxGuest(TestKernel.BzImage(), [], "vmlab.host=käse")),
            Refused.Saying("ASCII"));

    [Test]
    public void Bare_vmlinux_cannot_be_unpacked_in_the_guest() =>
        Assert.That(
            () => _machine.Load(new LinuxGuest(TestKernel.Vmlinux(), [], "") { Unpacking = KernelUnpacking.InGuest }),
            Refused.Saying("no decompressor"));

    [Test]
    public void Truncated_initramfs_is_refused_before_the_kernel_sees_it() =>
        Assert.That(
            () => _machine.Load(new LinuxGuest(TestKernel.BzImage(), s_initrd[..200], "", "vmlinuz")),
            Refused.Saying("The initramfs of vmlinuz is truncated"));

    [Test]
    public void Packed_initramfs_that_is_truncated_inside_is_refused()
    {
        byte[] initrd = [.. s_initrd, .. TestKernel.Gzip(s_initrd[..200])];

        Assert.That(() => _machine.Load(new LinuxGuest(TestKernel.BzImage(), initrd, "")), Refused.Saying("truncated"));
    }

    [Test]
    public void Whole_initramfs_passes_packed_or_not() =>
        Assert.That(
            () => _machine.Load(new LinuxGuest(TestKernel.BzImage(), [.. s_initrd, .. TestKernel.Gzip(s_initrd)], "")),
            Throws.Nothing);

    [Test]
    public void Missing_kernel_file_is_named() =>
        Assert.That(
            () => LinuxGuest.FromFiles("/nowhere/vmlinuz", null, ""),
            Refused.Saying("The kernel /nowhere/vmlinuz cannot be read"));

    [Test]
    public void Damaged_initramfs_never_gives_more_than_a_message() =>
        Damage.Of(s_initrd).Sample(initrd => Damage.IsRefusedAtMost(() =>
            _machine.Load(new LinuxGuest(TestKernel.BzImage(), initrd, ""))));

    [Test]
    public void Damaged_kernel_never_gives_more_than_a_message() =>
        Damage.Of(TestKernel.BzImage()).Sample(kernel => Damage.IsRefusedAtMost(() =>
            _machine.Load(new LinuxGuest(kernel, s_initrd, ""))));

    ulong Parameter(BootEntry entry, int offset, int size) => _machine.Number(entry.Rsi + (ulong)offset, size);

    IEnumerable<ulong> Map(BootEntry entry)
    {
        for (ulong range = 0; range < Parameter(entry, RangeCount, 1); range++)
        {
            ulong at = entry.Rsi + Ranges + 20 * range;
            yield return _machine.Number(at, 8);
            yield return _machine.Number(at + 8, 8);
            yield return _machine.Number(at + 16, 4);
        }
    }

    // Four-level paging down to a 2 MiB page, as the processor walks it.
    ulong Walk(ulong root, ulong address)
    {
        ulong pointers = _machine.Number(root + 8 * (address >> 39 & 0x1FF), 8);
        ulong directory = _machine.Number((pointers & ~0xFFFUL) + 8 * (address >> 30 & 0x1FF), 8);
        ulong page = _machine.Number((directory & ~0xFFFUL) + 8 * (address >> 21 & 0x1FF), 8);
        Assert.That(pointers & directory & page & 3, Is.EqualTo(3));
        Assert.That(page & 0x80, Is.EqualTo(0x80));
        return page & ~0x1F_FFFFUL | address & 0x1F_FFFF;
    }

    static byte[] Initrd()
    {
        var archive = new CpioArchive();
        archive.Add("init", 0x81ED, Encoding.ASCII.GetBytes(new string('#', 1000)));
        return archive.Finish();
    }
}
