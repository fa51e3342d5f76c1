using Iced.Intel;

namespace VmLab.X86;

// PUSH and POP; several in a row, as functions begin and end with, look at the TLB once.
sealed unsafe partial class Translator
{
    /// <summary>How many instructions from one on are pushes, or pops, of registers other than RSP; 1 for any other.</summary>
    int CountTogether(int first, int end)
    {
        Code code = _instructions[first].Code;
        if (code is not (Code.Push_r64 or Code.Pop_r64)) return 1;
        int next = first;
        while (next < end && _instructions[next].Code == code && _instructions[next].Op0Register != Iced.Intel.Register.RSP) next++;
        return Math.Max(next - first, 1);
    }

    /// <summary>Pushes or pops that lie in one page; where they do not, the interpreter does them one by one.</summary>
    void EmitTogether(int first, int count)
    {
        bool isPush = _instructions[first].Mnemonic == Mnemonic.Push;
        int written = 0, bytes = 8 * count;
        for (int k = first; k < first + count; k++) written |= WrittenBy(_instructions[k]);
        if ((_flags.Recipe.Sources & written) != 0) KeepSources(written);
        EmitStackAccess(isPush, count, _ops + first);
        _e.Lea(Host.R13, Host.R13, -1, 0, isPush ? -bytes : bytes);
        for (int k = 0; k < count; k++)
        {
            int guest = Form.OffsetOf(_instructions[first + k].Op0Register) >> 3;
            if (isPush) _e.Store(_operand.Behind(bytes - 8 * (k + 1)), Borrow(guest, Host.R15));
            else
            {
                int target = RegisterOf(guest, Host.R15);
                _e.Load(target, _operand.Behind(8 * k));
                GiveBack(guest, target);
            }
        }
    }

    void EmitPush(in Instruction i, Op* op)
    {
        EmitStackAccess(isPush: true, 1, op);
        if (i.Op0Kind == OpKind.Register)
        {
            _e.Store(_operand, Borrow(Form.OffsetOf(i.Op0Register) >> 3, Host.R15));
        }
        else
        {
            _e.Modrm(new(0xC7, IsWide: true), 0, _operand);
            _e.Double((long)i.GetImmediate(0));
        }
        _e.Lea(Host.R13, Host.R13, -1, 0, -8);
    }

    void EmitPop(in Instruction i, Op* op)
    {
        EmitStackAccess(isPush: false, 1, op);
        int guest = Form.OffsetOf(i.Op0Register) >> 3, host = GuestRegister.HostOf(guest);
        _e.Lea(Host.R13, Host.R13, -1, 0, 8);
        _e.Load(host >= 0 ? host : Host.R14, _operand);   // POP RSP leaves what it has popped
        GiveBack(guest, Host.R14);
    }

    void EmitLeave(Op* op)
    {
        GuardFlags();
        _e.Move(Host.R14, Host.Rbp);
        EmitLookup(ReadTag, 8, op);
        _e.Lea(Host.R13, Host.Rbp, -1, 0, 8);
        _e.Load(Host.Rbp, Place.At(Host.R14));
    }
}
