package Figures;
use strict;
use warnings;

# Collects figures of several targets, measured several times, and formats their medians as a table.
#
#   my $figures = Figures->new('CPU s/million' => '%.2f', 'x floor' => '%.1f');
#   $figures->add('Twiggy writer', 'CPU s/million' => 21.3, 'x floor' => 6.2);
#   print $figures->table;

use List::Util qw(max);

# Takes the columns in order, each a name and a format of sprintf.
sub new {
    my ($class, @columns) = @_;
    my @names = @columns[grep { $_ % 2 == 0 } 0 .. $#columns];
    return bless {columns => \@names, format => {@columns}, rows => [], figures => {}}, $class;
}

# Public methods

sub add {
    my ($self, $row, %figure) = @_;
    push @{$self->{rows}},              $row if !$self->{figures}{$row};
    push @{$self->{figures}{$row}{$_}}, $figure{$_} for keys %figure;
    return;
}

# Returns a table of the medians. A dash stands for a figure that was not measured.
sub table {
    my $self  = shift;
    my @lines = (['', @{$self->{columns}}]);
    for my $row (@{$self->{rows}}) {
        push @lines, [$row, map { $self->_cell($row, $_) } @{$self->{columns}}];
    }
    my @widths = map {
        my $column = $_;
        max map { length $_->[$column] } @lines
    } 0 .. @{$self->{columns}};
    my $format = join('  ', "%-$widths[0]s", map { "%${_}s" } @widths[1 .. $#widths]) . "\n";
    return join '', map { sprintf $format, @$_ } @lines;
}

# Private methods

sub _cell {
    my ($self, $row, $column) = @_;
    my @values = sort { $a <=> $b } grep { defined } @{$self->{figures}{$row}{$column} || []};
    return '-' if !@values;
    return sprintf $self->{format}{$column}, $values[$#values / 2];
}

1;
