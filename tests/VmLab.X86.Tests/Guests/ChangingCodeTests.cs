using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;
using static VmLab.X86.Tests.Guests.VcpuFixture;

namespace VmLab.X86.Tests.Guests;

/// <summary>
/// Code that is written to runs as written, at the very next instruction. Source: Intel SDM vol. 3A §8.1.3, with no
/// jump needed.
/// </summary>
public sealed unsafe class ChangingCodeTests : GuestTest
{
    const byte MovAlImmediate = 0xB0, Halt = 0xF4, Return = 0xC3;

    [Test]
    public void An_instruction_ahead_in_the_same_block_is_changed()
    {
        Pc.Load(code =>
        {
            Label ahead = code.CreateLabel();
            code.lea(rbx, __[ahead]);
            code.mov(__byte_ptr[rbx + 1], 0x42);
            code.Label(ref ahead);
            code.mov(al, 0x11);
            code.hlt();
        });

        Pc.RunToHalt();

        Assert.That(Register(Gpr.Rax) & 0xFF, Is.EqualTo(0x42));
    }

    [Test]
    public void An_instruction_changes_itself_for_the_next_round()
    {
        Pc.Load(code =>
        {
            Label self = code.CreateLabel();
            code.xor(eax, eax);
            code.mov(ecx, 100);
            code.lea(rbx, __[self]);
            code.Label(ref self);
            code.add(eax, 1000);                   // 05 imm32
            code.inc(__dword_ptr[rbx + 1]);
            code.dec(ecx);
            code.jne(self);
            code.hlt();
        });

        Pc.RunToHalt();

        Assert.That(Register(Gpr.Rax), Is.EqualTo(100 * 1000 + 99 * 100 / 2));
    }

    [Test]
    public void Code_of_another_page_is_changed_between_calls()
    {
        const ulong Routine = VcpuFixture.Code + 0x3000;
        Pc.Memory.Write(Routine, [MovAlImmediate, 1, Return]);
        Pc.Load(code =>
        {
            code.xor(edx, edx);
            code.mov(ecx, 50);
            Label again = code.CreateLabel();
            code.Label(ref again);
            code.mov(rbx, Routine);
            code.call(rbx);
            code.movzx(eax, al);
            code.add(edx, eax);
            code.inc(__byte_ptr[rbx + 1]);
            code.dec(ecx);
            code.jne(again);
            code.hlt();
        });

        Pc.RunToHalt();

        Assert.That(Register(Gpr.Rdx), Is.EqualTo(50 * 51 / 2));
    }

    [Test]
    public void Code_changed_by_dma_runs_as_changed()
    {
        Label again = default;
        Pc.Load(code =>
        {
            again = code.CreateLabel();
            code.Label(ref again);
            code.mov(al, 1);
            code.jmp(again);
        });
        Pc.Cpu.Run(9);

        Pc.Memory.Write(VcpuFixture.Code + 1, [7]);
        Pc.Cpu.Run(2);

        Assert.That(Register(Gpr.Rax) & 0xFF, Is.EqualTo(7));
    }

    [TestCase(true)]
    [TestCase(false)]
    public void An_instruction_that_lies_in_two_pages_is_changed_in_the_second(bool byDma)
    {
        // mov eax, imm32: the immediate reaches into the next page
        const ulong Crossing = VcpuFixture.Code + 0x1000 - 2;
        Pc.Load(code =>
        {
            code.mov(eax, 0x0101_0101);
            code.dec(ecx);
            code.jne(VcpuFixture.Code + 0xF00);
            code.hlt();
        }, Crossing);
        Pc.Load(code =>
        {
            if (!byDma) code.mov(__byte_ptr[Crossing + 4], 0x77);
            code.add(edx, eax);
            code.jmp(Crossing);
        }, VcpuFixture.Code + 0xF00);
        State->Rip = Crossing;
        State->Gpr[Gpr.Rcx] = 1000;
        State->Gpr[Gpr.Rdx] = 0;

        Pc.Cpu.Run(byDma ? 102UL : 100);
        if (byDma)
        {
            Pc.Memory.Write(Crossing + 4, [0x77]);
            Pc.Cpu.Run(20);
        }

        Assert.That(Register(Gpr.Rax), Is.EqualTo(0x7701_0101));
    }

    [Test]
    public void An_instruction_that_lies_in_two_pages_follows_the_second_page_s_mapping()
    {
        const ulong Linear = 0x4000_0000, First = 0x50_0000, Second = 0x51_0000, Third = 0x52_0000;
        Pc.Map(Linear, First, Present | Writable);
        ulong entry = Pc.Map(Linear + 0x1000, Second, Present | Writable);
        byte[] program = Assemble(code =>
        {
            code.mov(eax, 0x1111_1111);
            code.hlt();
        }, Linear + 0xFFE);
        Pc.Memory.Write(First + 0xFFE, program.AsSpan(0, 2));
        Pc.Memory.Write(Second, program.AsSpan(2));
        Pc.Memory.Write(Third, [0x22, 0x22, 0x22, Halt]);
        State->Rip = Linear + 0xFFE;
        Pc.RunToHalt();

        Pc.Memory.Write64(entry, Third | Present);
        State->Rip = Linear + 0xFFE;
        State->IsHalted = 0;
        Pc.RunToHalt();

        Assert.That(Register(Gpr.Rax), Is.EqualTo(0x2222_2211));
    }

    public enum Change { Store, Dma, Mapping, Right, Space }

    // A direct call into another page, warmed up, then taken again: what it leads to is what is there now.
    [Test]
    public void A_direct_branch_into_another_page_sees_it_as_it_is([Values] Change change)
    {
        const ulong Linear = 0x4000_0000, First = 0x50_0000, Second = 0x51_0000, Third = 0x52_0000;
        Pc.Map(Linear, First, Present | Writable);
        ulong entry = Pc.Map(Linear + 0x1000, Second, Present | Writable);
        ulong other = OtherSpace(Linear, First, Third);
        Pc.Memory.Write(Second, [MovAlImmediate, 1, Return]);
        Pc.Memory.Write(Third, [MovAlImmediate, 2, Return]);
        Pc.Memory.Write(First, Assemble(code =>
        {
            Label again = code.CreateLabel();
            code.mov(ecx, 20);
            code.Label(ref again);
            code.call(Linear + 0x1000);
            code.dec(ecx);
            code.jne(again);
            code.hlt();
            if (change == Change.Store) code.mov(__byte_ptr[(long)Linear + 0x1001], 2);
            if (change == Change.Mapping) code.mov(__dword_ptr[(long)entry], (int)(Third | Present));
            if (change == Change.Right) code.bts(__qword_ptr[(long)entry], 63);
            if (change == Change.Space)
            {
                code.mov(rax, other);
                code.mov(cr3, rax);
            }
            code.call(Linear + 0x1000);
            code.hlt();
        }, Linear));
        State->Rip = Linear;
        Pc.RunToHalt();
        if (change == Change.Dma) Pc.Memory.Write(Second + 1, [2]);
        State->IsHalted = 0;

        Pc.RunToHalt();

        if (change == Change.Right)
            Assert.That((Pc.HaltedVector, State->Cr2), Is.EqualTo((Vector.PageFault, Linear + 0x1000)));
        else Assert.That(Register(Gpr.Rax) & 0xFF, Is.EqualTo(2));
    }

    /// <summary>The root of a space that differs in one page.</summary>
    ulong OtherSpace(ulong linear, ulong first, ulong second)
    {
        ulong root = Pc.NewTable(), upper = Pc.NewTable(), middle = Pc.NewTable(), last = Pc.NewTable();
        Pc.Memory.Write64(root, upper | Present | Writable);
        Pc.Memory.Write64(upper, Pc.Memory.Read64(Pc.EntryOf(0, 3)));
        Pc.Memory.Write64(upper + 8 * (linear >> 30 & 0x1FF), middle | Present | Writable);
        Pc.Memory.Write64(middle + 8 * (linear >> 21 & 0x1FF), last | Present | Writable);
        Pc.Memory.Write64(last, first | Present | Writable);
        Pc.Memory.Write64(last + 8, second | Present | Writable);
        return root;
    }

    [Test]
    public void A_string_move_over_the_code_ahead_is_seen()
    {
        Pc.Load(code =>
        {
            Label source = code.CreateLabel(), target = code.CreateLabel();
            code.lea(rsi, __[source]);
            code.lea(rdi, __[target]);
            code.mov(ecx, 2);
            code.rep.movsb();
            code.Label(ref target);
            code.mov(al, 1);
            code.hlt();
            code.Label(ref source);
            code.db(MovAlImmediate, 9);
        });

        Pc.RunToHalt();

        Assert.That(Register(Gpr.Rax) & 0xFF, Is.EqualTo(9));
    }

    [Test]
    public void Data_beside_code_in_one_page_is_plain_data()
    {
        Pc.Load(code =>
        {
            code.mov(ecx, 100);
            Label again = code.CreateLabel();
            code.Label(ref again);
            code.inc(__dword_ptr[VcpuFixture.Code + 0x800]);
            code.dec(ecx);
            code.jne(again);
            code.hlt();
        });

        Pc.RunToHalt();

        Assert.That(Pc.Memory.Read32(VcpuFixture.Code + 0x800), Is.EqualTo(100));
    }
}
