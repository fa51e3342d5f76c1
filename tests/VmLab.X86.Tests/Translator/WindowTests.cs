using Iced.Intel;
using VmLab.X86.Tests.Guests;
using static Iced.Intel.AssemblerRegisters;

namespace VmLab.X86.Tests.Translator;

/// <summary>Accesses that share a look at the TLB: near each other, in one page or in two.</summary>
public sealed unsafe class WindowTests : GuestTest
{
    const ulong Loop = VcpuFixture.Code + 0x200, Second = VcpuFixture.Data + 0x1000, Elsewhere = VcpuFixture.Data + 0x9000;

    [Test]
    public void Each_access_finds_its_own_page([Values(40, 400)] int rounds) => RunAlike(asm =>
    {
        asm.mov(rbx, Second - 0xC0);
        asm.mov(ecx, rounds);
        asm.jmp(Loop);
    }, asm =>
    {
        asm.add(__qword_ptr[rbx + 0x40], rcx);
        asm.mov(rax, __qword_ptr[rbx + 0x80]);
        asm.add(rbx, 8);
        asm.cmp(rax, __qword_ptr[rbx + 0x38]);
        asm.adc(__qword_ptr[rbx - 8], rax);
        asm.mov(__word_ptr[rbx + 0x7A], cx);
        asm.lea(rbx, __[rbx - 6]);
        asm.dec(ecx);
        asm.jne(Loop);
        asm.hlt();
    });

    [Test]
    public void A_stack_in_two_pages_holds_what_is_pushed([Values(40, 200)] int rounds) => RunAlike(asm =>
    {
        asm.mov(rsp, Second + 0x80);
        asm.mov(ecx, rounds);
        asm.jmp(Loop);
    }, asm =>
    {
        asm.push(rcx);
        asm.push(rbx);
        asm.sub(rsp, 0x18);
        asm.add(__qword_ptr[rsp + 0x10], rcx);
        asm.push(0x1234_5678);
        asm.xor(rbx, __qword_ptr[rsp + 0x18]);
        asm.pop(rax);
        asm.add(rbx, rax);
        asm.mov(__qword_ptr[rsp], rbx);
        asm.add(rsp, 0x18);
        asm.pop(rdx);
        asm.pop(rax);
        asm.sub(rsp, 10);
        asm.dec(ecx);
        asm.jne(Loop);
        asm.hlt();
    });

    /// <summary>Runs a loop translated and interpreted; it leaves the same in two pages that lie apart.</summary>
    void RunAlike(Action<Assembler> start, Action<Assembler> loop)
    {
        if (!Vcpu.CanTranslate) Assert.Ignore("This host runs no translated code.");
        using var other = new VcpuFixture();
        Pc.Cpu.UseTranslator(warmth: 1);
        foreach (VcpuFixture pc in (VcpuFixture[])[Pc, other])
        {
            pc.Map(Second, Elsewhere, VcpuFixture.Present | VcpuFixture.Writable);
            pc.Load(start);
            pc.Load(loop, Loop);
            pc.RunToHalt();
        }

        byte[] bytes = Bytes(Pc), expected = Bytes(other);
        Assert.That(bytes, Is.EqualTo(expected));
        Assert.That(expected.AsSpan(0, 0x1000).ContainsAnyExcept((byte)0), "The loop reached the first page.");
        Assert.That(expected.AsSpan(0x1000).ContainsAnyExcept((byte)0), "The loop reached the second page.");
    }

    static byte[] Bytes(VcpuFixture pc)
    {
        var bytes = new byte[0x2000];
        pc.Memory.Read(VcpuFixture.Data, bytes.AsSpan(0, 0x1000));
        pc.Memory.Read(Elsewhere, bytes.AsSpan(0x1000));
        return bytes;
    }
}
