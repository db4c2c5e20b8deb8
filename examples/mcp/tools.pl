# The tools of the server. A tool is run with the arguments of a call, and returns a result as the protocol has it. A tool that
# is a job is also given the call ("For tools" in the file call): it may take its time, report progress, and ask the client.
use strict;
use warnings;

sub text { return {content => [{type => 'text', text => '' . shift}]} }

sub input {
    my %type       = @_;
    my %properties = map { ($_ => {type => $type{$_}}) } keys %type;
    return {type => 'object', properties => \%properties, required => [sort keys %type]};
}

return {
    add => {
        description => 'Adds two numbers',
        input       => input(a => 'number', b => 'number'),
        run         => sub { my $given = shift; text($given->{a} + $given->{b}) },
    },
    count_down => {
        description => 'Counts down, a number each second, and reports the progress',
        input       => input(from => 'integer'),
        is_job      => 1,
        run         => sub {
            my ($given, $call) = @_;
            for my $number (1 .. $given->{from}) {
                $call->pause(1);
                $call->progress($number, $given->{from});
            }
            return text('lift-off');
        },
    },
    translate => {
        description => 'Asks the model of the client for a translation into English',
        input       => input(words => 'string'),
        needs       => ['sampling'],
        is_job      => 1,
        run         => sub {
            my ($given, $call) = @_;
            my $question =
                {role => 'user', content => {type => 'text', text => "Translate into English: $given->{words}"}};
            my %params  = (messages => [$question], maxTokens => 1000);
            my %answer  = $call->ask(words => {method => 'sampling/createMessage', params => \%params});
            my $content = $answer{words}{content};
            die "the answer of the client is not text\n" if ref $content ne 'HASH' || ref($content->{text} // []);
            return text($content->{text});
        },
    },
};
