using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;
using static VmLab.Guests.Channel.AgentLayout;

namespace VmLab.Guests.Channel;

// The agent's table of what is under way.
sealed partial class AgentProgram
{
    void WriteJobs()
    {
        Label next = a.CreateLabel(), other = a.CreateLabel(), found = a.CreateLabel(), nextFree = a.CreateLabel();

        // r12d: id. Finds the job under way with it; eax is 0 when there is none.
        a.Label(ref _findJob);
        StartWithFirstJob();
        a.Label(ref next);
        a.cmp(__dword_ptr[rbx + JobId], r12d);
        a.jne(other);
        a.mov(eax, __dword_ptr[rbx + JobState]);
        a.cmp(eax, Lingering);
        a.je(other);
        a.test(eax, eax);
        a.jnz(found);
        a.Label(ref other);
        GoOnWithNextJob(next);
        a.xor(eax, eax);
        a.Label(ref found);
        a.ret();

        // Finds a free job; eax is 0 when there is none.
        a.Label(ref _newJob);
        StartWithFirstJob();
        a.Label(ref nextFree);
        a.mov(eax, 1);
        a.cmp(__dword_ptr[rbx + JobState], Free);
        a.je(found);
        GoOnWithNextJob(nextFree);
        a.xor(eax, eax);
        a.ret();

        // eax: the negative error that ended the request r12d.
        a.Label(ref _busy);
        a.mov(eax, -GuestErrors.Busy);
        a.Label(ref _fail);
        a.mov(edx, eax);
        a.neg(edx);
        a.mov(esi, r12d);
        SendEmpty(ChannelKind.Failed);
        a.ret();
    }

    void StartWithFirstJob()
    {
        a.mov(ebx, Jobs);
        a.mov(ebp, Polls + FirstJobPoll * PollSize);
    }

    void GoOnWithNextJob(Label next)
    {
        a.add(ebx, JobSize);
        a.add(ebp, 2 * PollSize);
        a.cmp(ebx, Jobs + MostJobs * JobSize);
        a.jb(next);
    }

    void TakeJob()
    {
        a.call(_newJob);
        a.test(eax, eax);
        a.jz(_busy);
    }

    // Passes over a request whose job is not under way in that state.
    void FindJob(int state, Label otherwise)
    {
        a.call(_findJob);
        a.cmp(eax, state);
        a.jne(otherwise);
    }

    void OccupyJob(int state)
    {
        a.mov(__dword_ptr[rbx + JobId], r12d);
        a.mov(__dword_ptr[rbx + JobState], state);
    }

    // A command that has ended, and whose pipes are closed at the other end, is over.
    void FreeIfClosed()
    {
        Label stays = a.CreateLabel();
        a.cmp(__dword_ptr[rbx + JobState], Lingering);
        a.jne(stays);
        a.mov(eax, __dword_ptr[rbp]);
        a.and(eax, __dword_ptr[rbp + PollSize]);                // -1 only if both are
        a.cmp(eax, -1);
        a.jne(stays);
        a.mov(__dword_ptr[rbx + JobState], Free);
        a.Label(ref stays);
        a.nop();
    }
}
