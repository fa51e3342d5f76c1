using Iced.Intel;
using VmLab.Core;
using VmLab.Guests;
using VmLab.Machines;
using static Iced.Intel.AssemblerRegisters;

namespace VmLab.Machines.Tests;

/// <summary>Small bare-metal guests, and machines to run them.</summary>
static class Programs
{
    public const ushort Serial = 0x3F8, Pit = 0x40;
    public const ulong Idt = 0x20_0000, Counter = 0x21_0000;

    /// <summary>
    /// Counts timer interrupts of the 8254 at about 1 kHz while it computes, and stores what it computes.
    /// </summary>
    public static readonly ProgramGuest Ticker = new(asm =>
    {
        Label handler = asm.CreateLabel(), start = asm.CreateLabel(), loop = asm.CreateLabel();
        asm.jmp(start);
        asm.Label(ref handler);
        asm.push(rax);
        asm.inc(__dword_ptr[Counter]);
        asm.mov(al, 0x20);
        asm.@out(0x20, al);
        asm.pop(rax);
        asm.iretq();
        asm.Label(ref start);
        SetGate(asm, 0x20, handler);
        StartTimer(asm, divisor: 1193);
        asm.sti();
        asm.xor(ecx, ecx);
        asm.Label(ref loop);
        asm.imul(rcx, rcx, 0x5851F42D);
        asm.add(rcx, 12345);
        asm.mov(rdx, rcx);
        asm.and(edx, 0xFFF8);
        asm.mov(__qword_ptr[rdx + 0x30_0000], rcx);
        asm.jmp(loop);
    });

    /// <summary>Sleeps until each timer interrupt, and says so on the serial port.</summary>
    public static readonly ProgramGuest Sleeper = new(asm =>
    {
        Label handler = asm.CreateLabel(), start = asm.CreateLabel(), loop = asm.CreateLabel();
        asm.jmp(start);
        asm.Label(ref handler);
        asm.mov(al, 0x20);
        asm.@out(0x20, al);
        asm.iretq();
        asm.Label(ref start);
        SetGate(asm, 0x20, handler);
        StartTimer(asm, divisor: 0);
        asm.Label(ref loop);
        asm.sti();
        asm.hlt();
        asm.mov(dx, Serial);
        asm.mov(al, (byte)'.');
        asm.@out(dx, al);
        asm.jmp(loop);
    });

    public static Machine Boot(IBootable guest, FramePool pool, ulong seed = 1, string name = "m") =>
        new(new MachineConfig(name, 16.MiB, guest, seed), pool);

    static void SetGate(Assembler asm, int vector, Label handler)
    {
        asm.lea(rax, __[handler]);
        asm.mov(rdi, Idt + (ulong)vector * 16);
        asm.mov(__word_ptr[rdi], ax);
        asm.mov(__word_ptr[rdi + 2], cs);
        asm.mov(__word_ptr[rdi + 4], 0x8E00);
        asm.shr(rax, 16);
        asm.mov(__word_ptr[rdi + 6], ax);
        asm.mov(__qword_ptr[rdi + 8], 0);
        asm.mov(rdi, Idt - 16);
        asm.mov(__word_ptr[rdi], 0xFFF);
        asm.mov(rax, Idt);
        asm.mov(__qword_ptr[rdi + 2], rax);
        asm.lidt(__[rdi]);
    }

    /// <summary>
    /// Interrupts from vector 0x20 on, all masked but the timer's, and channel 0 as a rate generator.
    /// </summary>
    static void StartTimer(Assembler asm, int divisor)
    {
        foreach (var (port, value) in new (byte, int)[]
        {
            (0x20, 0x11), (0x21, 0x20), (0x21, 0x04), (0x21, 0x01), (0x21, 0xFE),
            (0x43, 0x34), ((byte)Pit, divisor & 0xFF), ((byte)Pit, divisor >> 8),
        })
        {
            asm.mov(al, (byte)value);
            asm.@out(port, al);
        }
    }
}
