#r "nuget: VmLab, 0.1.0"
#r "nuget: VmLab.Testing, 0.1.0"
#r "nuget: Iced, 1.22.0"
using VmLab; using VmLab.Machines; using VmLab.Testing; using NUnit.Framework;
using Iced.Intel; using static Iced.Intel.AssemblerRegisters;

// A guest of some eighty instructions, written here and now: it needs no kernel and no download.
const ushort Serial = 0x3F8;
const ulong Idt = 0x20_0000, IdtPointer = 0x20_1000, Nowhere = 0x1_2345_6789;

var fleet = Fleet.Define("traps").Seed(1)
    .Vm("bare", out var bare, vm => vm.Boot(Guest.Program(Program)).Memory(4.MiB));

await Lab.RunAsync(fleet, async lab =>
{
    await lab.Boot();
    MachineStatus end = await lab[bare].Stopped(within: 1.Seconds);

    Write(lab[bare].Console.Text);
    Assert.That(end, Is.EqualTo(MachineStatus.Stuck));               // HLT with interrupts off: nothing can wake it
    Assert.That(lab[bare].Console, Shows.Text("page fault at 0000000123456789"));
    Assert.That(lab[bare].Memory.Read64(Idt + 14 * 16 + 8), Is.Zero); // looked at from outside: the handler lies below 4 GiB

    WriteLine($"{lab[bare].Retired} counts, {lab[bare].Now.TotalMicroseconds} us of guest time; the monitor handled");
    foreach (var reason in new[] { ExitReason.Cpuid, ExitReason.MsrRead, ExitReason.ControlRegister, ExitReason.PageFault, ExitReason.PortWrite })
        WriteLine($"  {reason,-16} {lab[bare].Exits[reason],4}");
});

void Program(Assembler asm)
{
    Label pageFault = asm.CreateLabel(), hex = asm.CreateLabel(), start = asm.CreateLabel();
    asm.jmp(start);

    asm.Label(ref pageFault);                     // on the stack: error code, RIP, CS, RFLAGS, RSP, SS
    Print(asm, "page fault at ");
    asm.mov(rax, cr2);
    asm.call(hex);
    asm.add(rsp, 8);                              // drop the error code
    asm.add(__qword_ptr[rsp], 3);                 // step over the load that faulted
    asm.iretq();

    asm.Label(ref hex);                           // prints RAX, sixteen digits, and a new line
    asm.mov(ecx, 16);
    Label digit = asm.CreateLabel(), small = asm.CreateLabel();
    asm.Label(ref digit);
    asm.rol(rax, 4);
    asm.mov(rbx, rax);
    asm.and(eax, 15);
    asm.add(al, (byte)'0');
    asm.cmp(al, (byte)'9');
    asm.jbe(small);
    asm.add(al, 'a' - '0' - 10);
    asm.Label(ref small);
    asm.mov(dx, Serial);
    asm.@out(dx, al);
    asm.mov(rax, rbx);
    asm.dec(ecx);
    asm.jnz(digit);
    Print(asm, "\n");
    asm.ret();

    asm.Label(ref start);
    asm.lea(rax, __[pageFault]);                  // a gate for vector 14, and an IDT of fifteen gates
    asm.mov(rdi, Idt + 14 * 16);
    asm.mov(__word_ptr[rdi], ax);
    asm.mov(__word_ptr[rdi + 2], cs);
    asm.mov(__word_ptr[rdi + 4], 0x8E00);
    asm.shr(rax, 16);
    asm.mov(__word_ptr[rdi + 6], ax);
    asm.mov(__qword_ptr[rdi + 8], 0);
    asm.mov(rdi, IdtPointer);
    asm.mov(__word_ptr[rdi], 15 * 16 - 1);
    asm.mov(rax, Idt);
    asm.mov(__qword_ptr[rdi + 2], rax);
    asm.lidt(__[rdi]);

    Print(asm, "hello from bare metal\nCPUID leaf 0: ");
    asm.xor(eax, eax);
    asm.cpuid();                                  // a trap: the monitor answers
    asm.mov(r8d, ebx);
    asm.mov(r9d, edx);
    asm.mov(r10d, ecx);
    foreach (var word in new[] { r8d, r9d, r10d })
        for (int i = 0; i < 4; i++)
        {
            asm.mov(eax, word);
            asm.mov(dx, Serial);
            asm.@out(dx, al);                     // a trap: the serial port
            asm.shr(word, 8);
        }
    Print(asm, "\nEFER: ");
    asm.mov(ecx, 0xC000_0080);
    asm.xor(eax, eax);
    asm.rdmsr();                                  // a trap: a model-specific register
    asm.call(hex);
    asm.mov(rax, cr3);
    asm.mov(cr3, rax);                            // a trap: an address space is switched to
    asm.mov(rsi, Nowhere);
    asm.mov(rax, __[rsi]);                        // three bytes, and no page there: the handler above
    Print(asm, "good night\n");
    asm.hlt();
}

static void Print(Assembler asm, string text)
{
    asm.mov(dx, Serial);
    foreach (char character in text)
    {
        asm.mov(al, (byte)character);
        asm.@out(dx, al);
    }
}
