using Iced.Intel;
using VmLab.Core;
using static Iced.Intel.AssemblerRegisters;

namespace VmLab.Guests.Tests;

public sealed class ProgramGuestTests
{
    readonly TestMachine _machine = new(4.MiB);

    [OneTimeTearDown]
    public void Free() => _machine.Dispose();

    [Test]
    public void Program_is_assembled_where_it_starts()
    {
        BootEntry entry = _machine.Load(new ProgramGuest(a =>
        {
            Label self = a.CreateLabel();
            a.Label(ref self);
            a.lea(rax, __[self]);
            a.hlt();
        }));

        Assert.That(entry.Mode, Is.EqualTo(BootMode.Long64));
        Assert.That(entry.Rip, Is.EqualTo(ProgramGuest.LoadAddress));
        Assert.That(entry.Rsp, Is.EqualTo(ProgramGuest.StackTop));
        Assert.That(entry.CodeSelector, Is.EqualTo(0x10));
        Assert.That(_machine.Bytes(entry.Rip, 8), Is.EqualTo((byte[])[0x48, 0x8D, 0x05, 0xF9, 0xFF, 0xFF, 0xFF, 0xF4]));
    }

    [Test]
    public void Program_for_32_bits_starts_without_paging_in_a_32_bit_segment()
    {
        BootEntry entry = _machine.Load(new ProgramGuest(a => a.pushad(), BootMode.Protected32));

        Assert.That(entry.Mode, Is.EqualTo(BootMode.Protected32));
        Assert.That(entry.Cr3, Is.Zero);
        Assert.That(entry.CodeSelector, Is.EqualTo(0x08));
        Assert.That(_machine.Number(entry.GdtBase + 0x08, 8), Is.EqualTo(0x00CF_9B00_0000_FFFF));
        Assert.That(_machine.Bytes(entry.Rip, 1), Is.EqualTo((byte[])[0x60]));
    }

    [Test]
    public void Machine_code_is_taken_as_it_is()
    {
        BootEntry entry = _machine.Load(new ProgramGuest([0x90, 0xF4]));

        Assert.That(_machine.Bytes(entry.Rip, 2), Is.EqualTo((byte[])[0x90, 0xF4]));
    }

    [Test]
    public void Instruction_that_does_not_exist_is_refused_with_the_assemblers_reason() =>
        Assert.That(
            () => _machine.Load(new ProgramGuest(a => a.pushad())),
            Refused.Saying("The program does not assemble: "));

    [Test]
    public void Label_in_two_places_is_refused() =>
        Assert.That(
            () => _machine.Load(new ProgramGuest(a =>
            {
                Label twice = a.CreateLabel();
                a.Label(ref twice);
                a.nop();
                a.Label(ref twice);
                a.jmp(twice);
            })),
            Refused.Saying("The program does not assemble: "));

    [Test]
    public void Empty_program_is_refused() =>
        Assert.That(
            () => _machine.Load(new ProgramGuest(_ => { })),
            Refused.Saying("empty"));

    [Test]
    public void Program_that_does_not_fit_is_refused() =>
        Assert.That(
            () => _machine.Load(new ProgramGuest(new byte[5 << 20])),
            Refused.Saying("needs 6 MiB of memory, and the machine has 4 MiB"));
}
